"""Makes, checks and shows data sets; `./reproduce data --help` lists the commands."""

import check_python  # noqa: F401
from data.commands import main
from dnnlib.util import run_main

if __name__ == '__main__':
    run_main(main)
