"""The three deployed tables, as Django models."""

from __future__ import annotations

from typing import ClassVar

from django.db import models


class DiscoveredVideo(models.Model):
    """A row of discovered_videos."""

    video_id = models.CharField(unique=True)
    title = models.CharField()
    channel_name = models.CharField()
    channel_id = models.CharField()
    url = models.CharField()
    category_id = models.IntegerField(null=True)
    duration_seconds = models.IntegerField(null=True)
    view_count = models.BigIntegerField(null=True)
    like_count = models.BigIntegerField(null=True)
    comment_count = models.BigIntegerField(null=True)
    view_velocity = models.FloatField(null=True)
    viral_score = models.FloatField(null=True)
    niche = models.CharField()
    discovery_source = models.CharField(null=True)
    discovered_at = models.DateTimeField()
    processed = models.IntegerField()
    content_id_risk = models.CharField()

    class Meta:
        """Table and indexes."""

        db_table = "discovered_videos"
        indexes: ClassVar = [
            models.Index(fields=["processed"], name="idx_discovered_processed"),
            models.Index(fields=["niche", "discovered_at"], name="idx_discovered_niche"),
        ]


class PipelineRun(models.Model):
    """A row of pipeline_runs."""

    niche = models.CharField()
    cycle_start = models.DateTimeField()
    cycle_end = models.DateTimeField()
    status = models.CharField()
    started_at = models.DateTimeField(null=True)
    completed_at = models.DateTimeField(null=True)
    video_file_path = models.CharField(null=True)
    video_duration_seconds = models.FloatField(null=True)
    video_file_size_bytes = models.BigIntegerField(null=True)
    youtube_video_id = models.CharField(null=True)
    youtube_url = models.CharField(null=True)
    error_message = models.TextField(null=True)
    retry_count = models.IntegerField()

    class Meta:
        """Table and indexes."""

        db_table = "pipeline_runs"
        indexes: ClassVar = [
            models.Index(fields=["niche", "cycle_start"], name="idx_pipeline_runs_niche"),
            models.Index(fields=["status"], name="idx_pipeline_runs_status"),
        ]


class Clip(models.Model):
    """A row of clips."""

    pipeline_run = models.ForeignKey(PipelineRun, models.DO_NOTHING, related_name="clips")
    discovered_video = models.ForeignKey(DiscoveredVideo, models.DO_NOTHING, db_index=False)
    rank_position = models.IntegerField()
    start_time_seconds = models.FloatField()
    end_time_seconds = models.FloatField()
    clip_duration_seconds = models.FloatField()
    extraction_method = models.CharField(null=True)
    clip_file_path = models.CharField(null=True)
    content_id_risk = models.CharField()

    class Meta:
        """Table."""

        db_table = "clips"
