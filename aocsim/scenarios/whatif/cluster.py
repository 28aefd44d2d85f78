"""Points of a study on a Dask cluster (extra `cluster`), through joblib's backend."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from joblib import Parallel, delayed, parallel_config

from aocsim.errors import InputError, ResourceError
from aocsim.provenance import source_digest
from aocsim.scenarios.whatif.engine import Spread, Work
from aocsim.scenarios.whatif.store import Found

PATIENCE = 10.0
"""Seconds in which a scheduler must answer."""


@contextmanager
def cluster(address: str, say: Callable[[str], object] = lambda text: None) -> Iterator[Spread]:
    """Points on the workers of a cluster, which see the same folders and have the same version of this package.

    Args:
        address: of the scheduler, tcp://HOST:PORT.
        say: told the address of the cluster's dashboard.

    Raises:
        InputError: the extra is not installed, nobody answers, there is no worker, or one has another version.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise InputError(
            "a cluster needs Dask: install aocsim with the extra `cluster`", key="--cluster"
        ) from error

    try:
        # asked first: a client that is connected waits for its answer as long as it takes
        asyncio.run(asyncio.wait_for(_identity(address), PATIENCE))
        client: Any = Client(  # type: ignore[no-untyped-call]
            address, timeout=PATIENCE, set_as_default=True
        )
    except (
        Exception
    ) as error:  # whatever a stranger at this address makes of Dask's greeting, and Dask of its answer
        raise InputError(
            f"no Dask scheduler answers within {PATIENCE:g} s ({_reason(error)})",
            key="--cluster",
            got=address,
        ) from error
    try:
        _refuse_others(client, address)
        say(f"dashboard: {client.dashboard_link}")
        yield partial(_spread, client)
    finally:
        client.close()


async def _identity(address: str) -> Any:
    """What a scheduler says of itself."""
    from distributed.core import rpc

    async with rpc(address) as scheduler:  # type: ignore[no-untyped-call]
        return await scheduler.identity()


def _spread(client: Any, work: Work, tasks: Iterable[tuple[str, str]]) -> Iterator[tuple[str, Found]]:
    with parallel_config(backend="dask", client=client):
        yield from Parallel(n_jobs=-1, return_as="generator_unordered", batch_size=1)(
            delayed(work)(task) for task in tasks
        )


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__


def _refuse_others(client: Any, address: str) -> None:
    """Refuse a cluster without workers, or with one whose results might differ from this computer's.

    Raises:
        InputError, ResourceError: says which worker.
    """
    try:
        found = client.run(source_digest)
    except Exception as error:  # whatever stops a worker from importing this package
        raise InputError(
            f"a worker cannot run aocsim ({_reason(error)})", key="--cluster", got=address
        ) from error
    if not found:
        raise ResourceError(f"--cluster: {address} has no worker")
    own = source_digest()
    for worker, digest in sorted(found.items()):
        if digest != own:
            raise InputError(
                "a worker has another version of aocsim",
                key="--cluster",
                got=f"{worker}: source {digest}",
                allowed=own,
            )
