"""run_with_everything loads every path, even if the session already holds the rows."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from shortsdb import queries
from shortsdb.database import seed_db_async
from shortsdb.engine import async_session_factory, create_async_engine
from shortsdb.models import Clip, PipelineRun, Short

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession


async def run_id_of_a_short_with_a_clip_of_another_run(session: AsyncSession) -> int:
    """Let one Short of a run be made of a clip of another run, and return the run's number."""
    short = (await session.scalars(select(Short).where(Short.clip_id.is_not(None)))).first()
    assert short is not None
    foreign = await session.scalar(
        select(Clip.id).where(Clip.pipeline_run_id != short.pipeline_run_id)
    )
    session.add(Short(pipeline_run_id=short.pipeline_run_id, clip_id=foreign))
    await session.commit()
    return short.pipeline_run_id


def titles(run: PipelineRun) -> list[str]:
    """Return a title for each clip, by both ways to it; nothing may be loaded for that."""
    found = [clip.discovered_video.title for clip in run.clips]
    found += [short.clip.discovered_video.title for short in run.shorts if short.clip]
    for child in ("scripts", "tts_audio", "review_logs", "error_logs"):
        found += [row.pipeline_run.niche for row in getattr(run, child)]
    return found


@pytest.mark.parametrize("populate_existing", [True, False])
@pytest.mark.parametrize("before", ["nothing", "clips", "everything", "garbage"])
def test_every_path_is_loaded_on_an_async_session(
    url: str, before: str, *, populate_existing: bool
) -> None:
    async def main() -> None:
        engine = create_async_engine(url)
        factory = async_session_factory(engine)
        async with factory() as session:
            await seed_db_async(session)
            number = await run_id_of_a_short_with_a_clip_of_another_run(session)
        question = queries.run_with_everything(number).execution_options(
            populate_existing=populate_existing
        )
        async with factory() as session:
            kept: list[object] = []
            if before == "clips":
                kept += (await session.scalars(select(Clip))).all()
            elif before == "everything":
                kept.append((await session.scalars(question)).one())
            elif before == "garbage":
                await session.scalars(question)
                gc.collect()
            run = (await session.scalars(question)).one()
            expected = titles(run)
            gc.collect()
            assert titles(run) == expected
            assert len(run.shorts) == 3
            await session.commit()
            gc.collect()
            assert titles(run) == expected
        await engine.dispose()

    gc.collect()
    gc.disable()
    try:
        asyncio.run(main())
    finally:
        gc.enable()
