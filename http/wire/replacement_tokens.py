"""Tokens in the command of a job template, filled with the values of parameters.

Values are data: they reach a command as variables of its environment and never become part of its text. So a
token is replaced by what its shell writes for a variable, in the manner that its place in the script needs.
"""

import re
from collections.abc import Iterator, Mapping

_POSIX = frozenset({"sh", "bash", "dash", "ksh", "zsh", "ash"})
_ELSEWHERE = {"cmd": "%{}%", "powershell": "${{env:{}}}", "pwsh": "${{env:{}}}"}
_HERE_DOCUMENT = re.compile(r"<<(-?)[ \t]*(['\"\\]?)([A-Za-z_][A-Za-z0-9_]*)")
_OPENING = {"$'": "$'", "$(": ")", "(": ")", "'": "'", '"': '"', "`": "`"}
"""What begins a quotation or a command inside, longest first, and what is then open."""
_WORD_BEGINS_AFTER = frozenset(" \t\n;&|()")


class CannotFill(ValueError):
    """A token stands where no value can be put; the message says where, and what to do."""


def fill(command: str, names: Mapping[str, str], shell: str | None) -> str:
    """The command with each token replaced by the variable of the parameter that it is for.

    Longer tokens go before shorter ones, and what was put in is not looked at again. Raises ``CannotFill``.
    """
    wanted = {token: name for token, name in names.items() if token}
    if not wanted:
        return command
    tokens = re.compile("|".join(re.escape(each) for each in sorted(wanted, key=len, reverse=True)))
    program = re.split(r"[\\/]", (shell or "bash").split("|")[0].strip())[-1].lower().removesuffix(".exe")
    if program in _POSIX:
        return "".join(_Script(command, tokens, wanted).filled())
    if program in _ELSEWHERE:
        return tokens.sub(lambda found: _ELSEWHERE[program].format(wanted[found[0]]), command)
    if tokens.search(command) is None:
        return command
    raise CannotFill(f"{program!r} is no shell that tokens can be filled for; use bash")


class _Script:
    """Reads a POSIX script just far enough to know how each of its characters is quoted.

    What is open is kept on a stack: ``"`` and ``'`` for quotes, ``$'`` for quotes with escapes, ``)`` and a
    backtick for commands inside.
    """

    def __init__(self, text: str, tokens: re.Pattern[str], names: Mapping[str, str]) -> None:
        self._text = text
        self._tokens = tokens
        self._names = names
        self._at = 0
        self._open: list[str] = []
        self._documents: list[re.Match[str]] = []

    def filled(self) -> Iterator[str]:
        """The pieces of the script."""
        while self._at < len(self._text):
            found = self._tokens.match(self._text, self._at)
            if found is None:
                yield self._next()
                continue
            self._at = found.end()
            variable = f"${{{self._names[found[0]]}}}"
            match self._inside:
                case "'":
                    yield f"'\"{variable}\"'"
                case "$'":
                    yield f"'\"{variable}\"$'"
                case _:
                    yield variable

    @property
    def _inside(self) -> str:
        return self._open[-1] if self._open else ""

    def _next(self) -> str:
        """What comes next and is no token."""
        match self._inside:
            case "'":
                return self._take(1, closes="'")
            case "$'":
                return self._escaped() if self._here("\\") else self._take(1, closes="'")
            case '"':
                return self._quoted()
            case _:
                return self._bare()

    def _quoted(self) -> str:
        if self._here("\\"):
            return self._escaped()
        if self._here("$("):
            return self._take(2, opens=")")
        if self._here("`"):
            return self._take(1, opens="`")
        return self._take(1, closes='"')

    def _bare(self) -> str:
        if self._here("\\"):
            return self._escaped()
        if self._here("\n") and self._documents:
            return self._take(1) + "".join(self._here_documents())
        if self._here("#") and (self._at == 0 or self._text[self._at - 1] in _WORD_BEGINS_AFTER):
            return self._plainly(self._take(self._line_end() - self._at))
        if self._here("`") and self._inside == "`":
            return self._take(1, closes="`")
        for beginning, closing in _OPENING.items():
            if self._here(beginning):
                return self._take(len(beginning), opens=closing)
        if self._here("<<") and not self._here("<<<"):
            found = _HERE_DOCUMENT.match(self._text, self._at)
            self._documents += [] if found is None else [found]
        return self._take(3 if self._here("<<<") else 1, closes=self._inside)

    def _escaped(self) -> str:
        if self._tokens.match(self._text, self._at + 1):
            raise CannotFill(
                "a token stands behind a backslash, which keeps a shell from filling it; take it away"
            )
        return self._take(2)

    def _here(self, text: str) -> bool:
        return self._text.startswith(text, self._at)

    def _take(self, length: int, *, opens: str = "", closes: str = "") -> str:
        taken = self._text[self._at : self._at + length]
        self._at += length
        if opens:
            self._open.append(opens)
        elif closes and taken == closes:
            self._open.pop()
        return taken

    def _line_end(self) -> int:
        end = self._text.find("\n", self._at)
        return len(self._text) if end < 0 else end

    def _plainly(self, text: str) -> str:
        return self._tokens.sub(lambda found: f"${{{self._names[found[0]]}}}", text)

    def _here_documents(self) -> Iterator[str]:
        """The bodies of the documents that were announced on the line before."""
        documents, self._documents = self._documents, []
        for document in documents:
            indented, quote, end = document.groups()
            while self._at < len(self._text):
                line = self._take(min(self._line_end() + 1, len(self._text)) - self._at)
                if quote and self._tokens.search(line):
                    raise CannotFill(
                        f"a token stands in the document that ends with {end}, in which a shell fills in "
                        f"nothing; write <<{end} without quotes"
                    )
                yield self._plainly(line)
                if (line.lstrip("\t") if indented else line).rstrip("\n") == end:
                    break
