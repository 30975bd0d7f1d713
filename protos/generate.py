"""Generates the contracts package from the protos beside this file: `python protos/generate.py OUTPUT_FOLDER`."""

import sys
from importlib import resources
from pathlib import Path

from grpc_tools import protoc

PROTOS = Path(__file__).resolve().parent


def generate(output: Path) -> None:
    """Writes messages, stubs and their types for every proto below `output`. Raises RuntimeError naming the failure."""
    output.mkdir(parents=True, exist_ok=True)
    files = sorted(str(path.relative_to(PROTOS)) for path in PROTOS.rglob("*.proto"))
    arguments = [
        "protoc",
        f"-I{PROTOS}",
        f"-I{resources.files('grpc_tools') / '_proto'}",
        f"--python_out={output}",
        f"--grpc_python_out={output}",
        *(
            f"--plugin={Path(sys.prefix) / 'bin' / name}"
            for name in ("protoc-gen-mypy", "protoc-gen-mypy_grpc")
        ),
        f"--mypy_out={output}",
        f"--mypy_grpc_out={output}",
        *files,
    ]
    if status := protoc.main(arguments):
        raise RuntimeError(f"protoc failed with status {status}; its own message is above")


if __name__ == "__main__":
    generate(Path(sys.argv[1]))
