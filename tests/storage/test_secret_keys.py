"""Keys of secrets: what they seal and open, and what may become of their file."""

import errno
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jobledger.domain.secret_values import MASK, has_broken_token, is_encrypted, shown
from jobledger.storage.durable_files import OperatingSystemFiles
from jobledger.storage.secret_keys import KeyFile, KeyFileUnusable, Keys, SecretNotOpened, new_key

KEYS = Keys([new_key()])


@pytest.fixture
def file(tmp_path: Path) -> KeyFile:
    return KeyFile(tmp_path / "dashboard" / "secrets.key")


def lines_of(file: KeyFile) -> list[str]:
    return [line for line in file.path.read_text().splitlines() if not line.startswith("#")]


# --- sealing and opening ------------------------------------------------------------------------------------


@given(st.text(), st.text(), st.text())
@settings(max_examples=200)
def test_what_was_sealed_opens_wherever_it_stands_and_is_never_seen(
    text: str, before: str, after: str
) -> None:
    token = KEYS.seal(text)
    assert is_encrypted(token)
    assert not has_broken_token(token)
    assert shown("X", f"{before}{token}{after}") == MASK
    if not has_broken_token(f"{before}{token}{after}"):
        assert KEYS.open(f"{before}{token}{after}") == f"{before}{text}{after}"


def test_the_same_text_gives_another_token_each_time() -> None:
    assert KEYS.seal("x") != KEYS.seal("x")


def test_what_comes_out_is_not_looked_at_again() -> None:
    inner = KEYS.seal("inner")
    assert KEYS.open(KEYS.seal(inner)) == inner


def test_a_value_without_tokens_is_opened_as_it_is() -> None:
    assert KEYS.open("plain {enc} {enc:} $x") == "plain {enc} {enc:} $x"


@pytest.mark.parametrize("change", [lambda t: t[:20] + "A" + t[21:], lambda t: t[:-10] + "AAAAAAAA=}"])
def test_a_token_that_was_tampered_with_does_not_open(change: object) -> None:
    token = change(KEYS.seal("hunter2"))  # type: ignore[operator]
    with pytest.raises(SecretNotOpened, match="none of the keys opens it"):
        KEYS.open(token)


def test_a_text_has_its_tokens_sealed_anew_and_nothing_else_changed() -> None:
    old, new = new_key(), new_key()
    text = f"a: {Keys([old]).seal('one')}\nb: {Keys([old]).seal('two')} ${{x}}\n"
    renewed = Keys([new, old]).renew(text)
    assert Keys([new]).open(renewed) == "a: one\nb: two ${x}\n"
    assert Keys([new, old]).renew("no tokens") == "no tokens"
    with pytest.raises(SecretNotOpened):
        Keys([new]).renew(text)


# --- the file -----------------------------------------------------------------------------------------------


def test_the_first_secret_makes_a_file_that_its_owner_alone_can_read(file: KeyFile) -> None:
    with pytest.raises(SecretNotOpened, match="does not exist"):
        file.open(KEYS.seal("x"))
    token = file.seal("x")
    assert file.open(token) == "x"
    assert KeyFile(file.path).open(token) == "x"
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert len(lines_of(file)) == file.count() == 1


def test_a_new_key_seals_and_the_old_ones_still_open(file: KeyFile) -> None:
    before = file.seal("old")
    other = KeyFile(file.path)
    assert other.open(before) == "old"
    assert file.add() == 2
    after = file.seal("new")
    assert other.open(after) == "new", "a file that was changed by another process is read again"
    newest, oldest = lines_of(file)
    assert Keys([newest]).open(after) == "new"
    assert Keys([oldest]).open(before) == "old"
    with pytest.raises(SecretNotOpened):
        Keys([newest]).open(before)


def test_a_key_that_was_taken_away_opens_nothing_any_more(file: KeyFile) -> None:
    token = file.seal("old")
    file.add()
    file.path.write_text(lines_of(file)[0])
    with pytest.raises(SecretNotOpened):
        file.open(token)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "no key in it"),
        ("# nothing\n\n", "no key in it"),
        ("abc\n", "key 1 of"),
        ("é", "is no file of keys"),
    ],
)
def test_a_file_that_holds_no_keys_is_told_and_never_overwritten(
    file: KeyFile, content: str, told: str
) -> None:
    file.path.parent.mkdir()
    file.path.write_text(content)
    file.path.chmod(0o600)
    for attempt in (lambda: file.seal("x"), lambda: file.open(KEYS.seal("x")), file.add, file.count):
        with pytest.raises(KeyFileUnusable, match=told):
            attempt()
    assert file.path.read_text() == content


def test_a_file_that_others_can_read_is_refused(file: KeyFile) -> None:
    file.seal("x")
    for mode in (0o640, 0o604, 0o666):
        file.path.chmod(mode)
        with pytest.raises(KeyFileUnusable, match="chmod 600"):
            KeyFile(file.path).seal("x")


def test_a_message_about_a_broken_key_does_not_hold_it(file: KeyFile) -> None:
    key = new_key()
    file.path.parent.mkdir()
    file.path.write_text(f"{key}\n{key[:-3]}\n")
    file.path.chmod(0o600)
    with pytest.raises(KeyFileUnusable) as refused:
        file.seal("x")
    assert "key 2 of" in str(refused.value)
    assert key[:10] not in str(refused.value)


def test_keys_that_were_read_stay_in_use_when_the_file_is_broken_or_gone(file: KeyFile) -> None:
    token = file.seal("x")
    content = file.path.read_text()
    file.path.write_text("half a k")
    assert file.open(token) == "x"
    file.path.unlink()
    assert file.open(token) == "x"
    with pytest.raises(KeyFileUnusable, match="vanished"):
        file.seal("y")
    file.path.write_text(content)
    file.path.chmod(0o600)
    assert file.open(file.seal("y")) == "y"


def test_a_file_that_somebody_else_writes_is_not_overruled(file: KeyFile) -> None:
    file.seal("x")
    held = file._files.lock(file.path.with_name("secrets.key.lock"))
    try:
        with pytest.raises(KeyFileUnusable, match="somebody else"):
            file.add()
    finally:
        os.close(held)
    assert file.add() == 2


class FailingFiles(OperatingSystemFiles):
    """The real disk, whose n-th change fails for want of space."""

    def __init__(self, failing: int) -> None:
        self.left = failing

    def _count(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise OSError(errno.ENOSPC, "No space left on device")

    def create(self, path: Path) -> int:
        self._count()
        return super().create(path)

    def write(self, descriptor: int, data: bytes | memoryview, offset: int) -> int:
        self._count()
        return super().write(descriptor, data, offset)

    def fdatasync(self, descriptor: int) -> None:
        self._count()
        super().fdatasync(descriptor)

    def rename(self, source: Path, target: Path) -> None:
        self._count()
        super().rename(source, target)


def test_a_full_disk_leaves_the_keys_as_they_were_at_every_step(tmp_path: Path) -> None:
    steps = 4
    for failing in range(1, steps + 1):
        path = tmp_path / str(failing) / "secrets.key"
        path.parent.mkdir()
        with pytest.raises(OSError, match="No space left"):
            KeyFile(path, FailingFiles(failing)).seal("x")
        assert KeyFile(path).count() == 0
        token = KeyFile(path).seal("x")
        with pytest.raises(OSError, match="No space left"):
            KeyFile(path, FailingFiles(failing)).add()
        assert KeyFile(path).count() == 1
        assert KeyFile(path).open(token) == "x"
    assert KeyFile(tmp_path / "more" / "secrets.key", FailingFiles(steps + 1)).seal("x"), (
        "there are no more steps"
    )
