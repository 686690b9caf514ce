"""The agent's services as a WSGI application."""

import falcon

from ...actors.agent.agent import Agent
from . import compatible, errors, own, queues
from .requests import BodyReader, TokenCheck


def agent_app(
    agent: Agent, *, token: str | None, body_limit_bytes: int
) -> "falcon.App[falcon.Request, falcon.Response]":
    """All services of one agent."""
    app = falcon.App(middleware=[TokenCheck(token)])
    app.req_options.strip_url_path_trailing_slash = True
    # An answer without a body is of no media type; Falcon would call it JSON.
    app.resp_options.default_media_type = None  # type: ignore[assignment]
    app.add_error_handler(falcon.HTTPError, errors.handle)
    app.add_error_handler(Exception, errors.handle)
    bodies = BodyReader(body_limit_bytes)
    compatible.add_routes(app, agent, bodies)
    queues.add_routes(app, agent)
    own.add_routes(app, agent, bodies)
    return app
