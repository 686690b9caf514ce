"""What the process tells of itself: lines of JSON on standard error, whoever wrote them."""

import logging
import sys
from typing import Any, Literal, TypeAlias

import msgspec
import structlog

Level: TypeAlias = Literal["debug", "info", "warning", "error"]


def configure(level: Level) -> None:
    """Have this program's own log and those of its libraries written as JSON; done once, at start."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer(serializer=_as_bytes)],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.BytesLoggerFactory(sys.stderr.buffer),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(serializer=_as_text),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(max(logging.WARNING, logging.getLevelNamesMapping()[level.upper()]))


def _as_bytes(event: Any, **_asked: Any) -> bytes:
    return msgspec.json.encode(event, enc_hook=str)


def _as_text(event: Any, **_asked: Any) -> str:
    return _as_bytes(event).decode()
