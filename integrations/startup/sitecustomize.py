"""Found by Python at start-up because ``inferometer run`` puts this folder in front of ``PYTHONPATH``."""

import importlib.util
import sys
from pathlib import Path


def _run_the_one_behind() -> None:
    """Run the sitecustomize that this one stands in front of, as if it were not there."""
    here = Path(__file__).parent
    for folder in sys.path:
        path = Path(folder or ".", "sitecustomize.py")
        if Path(folder or ".").resolve() != here.resolve() and path.is_file():
            spec = importlib.util.spec_from_file_location("sitecustomize", path)
            if spec is not None and spec.loader is not None:
                module = importlib.util.module_from_spec(spec)
                spec.loader.exec_module(module)
            return


try:
    from inferometer.integrations.startup import begin
except Exception as error:  # another interpreter, one where Inferometer is not installed
    sys.stderr.write(f"inferometer: not recording: {type(error).__name__}: {error}\n")
else:
    begin()
_run_the_one_behind()
