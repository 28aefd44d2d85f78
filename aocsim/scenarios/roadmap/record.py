"""What a result of the roadmap says of the sheets beside its machine."""

from __future__ import annotations

import json
from collections.abc import Mapping

from aocsim.spec import PartSpec


def equipment_record(sheets: Mapping[str, PartSpec]) -> str:
    """Sheets beside the machine as JSON: names, hashes and whatever the scenario changed.

    Args:
        sheets: by role, or by name.
    """
    told = {
        role: {"sheet": sheet.name, "sha256": sheet.sha256, "overrides": dict(sheet.overrides)}
        for role, sheet in sheets.items()
    }
    return json.dumps(told, sort_keys=True)
