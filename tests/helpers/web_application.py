"""A small FastAPI application that uses shortsdb."""

from typing import Annotated

from fastapi import FastAPI, HTTPException
from sqlalchemy import Engine, func, select, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import Session

from shortsdb.engine import create_engine
from shortsdb.models import ErrorLog
from shortsdb.web import (
    add_error_handlers,
    async_session_dependency,
    health_router,
    lifespan,
    session_dependency,
)

COUNT = select(func.count()).select_from(ErrorLog)


def entry(message: str) -> ErrorLog:
    return ErrorLog(module="web", error_type="Test", error_message=message)


def application(engine: Engine | AsyncEngine, timeout_seconds: float = 5.0) -> FastAPI:
    """Return the application on an engine of either kind."""
    app = FastAPI(lifespan=lifespan(engine, timeout_seconds=timeout_seconds))
    app.include_router(health_router(engine, timeout_seconds=timeout_seconds))
    add_error_handlers(app)
    if isinstance(engine, Engine):
        add_sync_routes(app, engine)
    else:
        add_async_routes(app, engine)
    return app


def add_sync_routes(app: FastAPI, engine: Engine) -> None:
    writing = session_dependency(engine)
    reading = session_dependency(engine, read_only=True)

    @app.post("/errors/{message}", status_code=201)
    def write(message: str, session: Annotated[Session, writing]) -> str:
        session.add(entry(message))
        return message

    @app.get("/errors")
    def count(session: Annotated[Session, reading]) -> int:
        return session.scalar(COUNT) or 0

    @app.post("/refused")
    def refused(session: Annotated[Session, writing]) -> None:
        session.add(entry("refused"))
        session.flush()
        raise HTTPException(409, "not today")

    @app.post("/broken-at-commit", status_code=201)
    def broken_at_commit(session: Annotated[Session, writing]) -> str:
        session.execute(text("PRAGMA defer_foreign_keys = ON"))
        session.add(ErrorLog(**{**entry("x").to_dict(), "id": None, "pipeline_run_id": 777}))
        return "written"

    @app.get("/bad-sql/{sql}")
    def bad_sql(sql: str, session: Annotated[Session, reading]) -> None:
        session.execute(text(sql))

    @app.post("/bad-sql/{sql}")
    def bad_change(sql: str, session: Annotated[Session, writing]) -> None:
        session.execute(text(sql))


def add_async_routes(app: FastAPI, engine: AsyncEngine) -> None:
    writing = async_session_dependency(engine)
    reading = async_session_dependency(engine, read_only=True)

    @app.post("/errors/{message}", status_code=201)
    async def write(message: str, session: Annotated[AsyncSession, writing]) -> str:
        session.add(entry(message))
        return message

    @app.get("/errors")
    async def count(session: Annotated[AsyncSession, reading]) -> int:
        return await session.scalar(COUNT) or 0


def create() -> FastAPI:
    """Return the application on the database in SHORTSDB_URL, for the uvicorn program."""
    return application(create_engine())
