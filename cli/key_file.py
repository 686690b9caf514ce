"""The key file that a command works on, with what is wrong with it told as a sentence."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from .failures import ExitCode, Failure

if TYPE_CHECKING:
    from ..storage.secret_keys import KeyFile

_NAME = "secrets.key"


def key_file_in(data_dir: Path | None, key_file: Path | None) -> Path:
    """The file that the options name; raises ``Failure`` when they name none or two."""
    if (data_dir is None) == (key_file is None):
        raise Failure(
            "name the key file, or the dashboard's data directory that it is in",
            code=ExitCode.USAGE,
            next_step="give --data-dir DIR or --key-file FILE",
        )
    return key_file if key_file is not None else data_dir / _NAME  # type: ignore[operator]  # one of them is there


@contextmanager
def opened_key_file(path: Path) -> Iterator["KeyFile"]:
    """The keys of a file; raises ``Failure`` for whatever keeps them from being used."""
    from ..storage.secret_keys import KeyFile, KeyFileUnusable, SecretNotOpened

    try:
        yield KeyFile(path)
    except KeyFileUnusable as error:
        raise Failure(str(error), next_step="run this as the user that the dashboard runs as") from error
    except SecretNotOpened as error:
        raise Failure(
            str(error), next_step="name the key file of the dashboard that encrypted it, or encrypt it anew"
        ) from error
    except OSError as error:
        raise Failure(
            f"{path} cannot be written: {error.strerror}",
            next_step="name a file in a directory that this user may write to and that has space",
        ) from error
