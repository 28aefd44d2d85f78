"""`python -m aocsim` is the command line."""

from aocsim.cli import main

if __name__ == "__main__":
    main()
