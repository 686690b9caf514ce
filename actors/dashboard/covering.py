"""Secrets in reports: our agents cover them, those of another make write down all that they were given."""

import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from uuid import UUID

from msgspec.structs import replace

from ...domain.facts import JobInitiated
from ...domain.messages import ProcessEvent
from ...domain.plan import JobIdentifier
from ...domain.secret_values import MASK, ciphertexts_in, token_of
from ...storage.ledger import Ledger
from ...storage.secret_keys import KeyFile, KeyFileUnusable, SecretNotOpened

_KEPT = 1024
_SHORTEST = 3
"""Characters of a secret that is covered in a text: a shorter one would stand in half of its words."""


class Covering:
    """Covers the secrets that a job was given, in what is reported of it. Safe to use from any thread."""

    def __init__(self, ledger: Ledger, keys: KeyFile) -> None:
        self._ledger = ledger
        self._keys = keys
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[UUID, JobIdentifier], tuple[int, frozenset[str]]] = OrderedDict()

    def of(self, events: Sequence[ProcessEvent]) -> list[ProcessEvent]:
        """The events, with secrets covered in the texts of those that name no initiation of ours."""
        return [self._covered(event) for event in events]

    def _covered(self, event: ProcessEvent) -> ProcessEvent:
        if event.initiation_id is not None or not (event.details or event.command_line):
            return event
        try:
            instance_id = UUID(event.instance_id)
        except ValueError:  # of no instance, which had no secrets
            return event
        secrets = self._secrets(instance_id, event.job_identifier)
        if not secrets:
            return event
        return replace(
            event,
            details=_without(event.details, secrets),
            command_line=_without(event.command_line, secrets),
        )

    def _secrets(self, instance_id: UUID, job: JobIdentifier) -> frozenset[str]:
        key = (instance_id, job)
        with self._lock:
            through, secrets = self._known.pop(key, (0, frozenset()))
        for recorded in self._ledger.facts(instance_id, after=through):
            through = recorded.position
            if isinstance(recorded.fact, JobInitiated) and recorded.fact.job == job:
                secrets |= self._opened(recorded.fact.parameters.values())
        with self._lock:
            self._known[key] = (through, secrets)
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return secrets

    def _opened(self, values: Iterable[str]) -> frozenset[str]:
        """What the tokens in values stand for; one that no key opens was never sent to anybody."""
        found = set()
        for value in values:
            for ciphertext in ciphertexts_in(value):
                try:
                    found.add(self._keys.open(token_of(ciphertext)))
                except (SecretNotOpened, KeyFileUnusable):
                    continue
        return frozenset(secret for secret in found if len(secret) >= _SHORTEST)


def _without(text: str | None, secrets: Iterable[str]) -> str | None:
    if text is None:
        return None
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, MASK)
    return text
