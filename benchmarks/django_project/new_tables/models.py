"""The seven new tables, as Django models."""

from __future__ import annotations

from typing import ClassVar

from deployed_tables.models import Clip, PipelineRun
from django.db import models
from django.db.models.functions import Now


class Script(models.Model):
    """A row of scripts."""

    pipeline_run = models.ForeignKey(PipelineRun, models.DO_NOTHING, related_name="scripts")
    opening_text = models.TextField(null=True)
    closing_text = models.TextField(null=True)
    full_script_json = models.TextField()
    total_char_count = models.BigIntegerField()
    estimated_duration_seconds = models.FloatField()
    llm_model_used = models.TextField()
    generated_at = models.DateTimeField(db_default=Now())

    class Meta:
        """Table."""

        db_table = "scripts"


class TTSAudio(models.Model):
    """A row of tts_audio."""

    pipeline_run = models.ForeignKey(PipelineRun, models.DO_NOTHING, related_name="tts_audio")
    engine_used = models.CharField()
    voice_profile = models.CharField(null=True)
    audio_file_path = models.CharField(null=True)
    duration_seconds = models.FloatField(null=True)
    generated_at = models.DateTimeField(db_default=Now())

    class Meta:
        """Table."""

        db_table = "tts_audio"


class Short(models.Model):
    """A row of shorts."""

    pipeline_run = models.ForeignKey(PipelineRun, models.DO_NOTHING, related_name="shorts")
    clip = models.ForeignKey(Clip, models.DO_NOTHING, null=True)
    file_path = models.CharField(null=True)
    duration_seconds = models.FloatField(null=True)
    title = models.CharField(null=True)
    description = models.TextField(null=True)
    youtube_video_id = models.CharField(null=True)
    youtube_url = models.CharField(null=True)
    status = models.CharField(db_default="pending", db_index=True)
    uploaded_at = models.DateTimeField(null=True)

    class Meta:
        """Table."""

        db_table = "shorts"


class Analytics(models.Model):
    """A row of analytics."""

    youtube_video_id = models.CharField()
    measured_at = models.DateTimeField(db_default=Now())
    view_count = models.BigIntegerField(null=True)
    like_count = models.BigIntegerField(null=True)
    comment_count = models.BigIntegerField(null=True)
    average_view_duration_seconds = models.FloatField(null=True)
    click_through_rate = models.FloatField(null=True)
    subscriber_gain = models.BigIntegerField(null=True)
    estimated_revenue_usd = models.FloatField(null=True)

    class Meta:
        """Table and index."""

        db_table = "analytics"
        indexes: ClassVar = [
            models.Index(fields=["youtube_video_id", "measured_at"], name="idx_analytics_video")
        ]


class ReviewLog(models.Model):
    """A row of review_logs."""

    pipeline_run = models.ForeignKey(PipelineRun, models.DO_NOTHING, related_name="review_logs")
    sent_at = models.DateTimeField(db_default=Now())
    responded_at = models.DateTimeField(null=True)
    action = models.CharField(null=True)
    response_detail = models.CharField(null=True)
    auto_held = models.IntegerField(db_default=0)

    class Meta:
        """Table and index."""

        db_table = "review_logs"
        indexes: ClassVar = [
            models.Index(fields=["auto_held", "responded_at", "sent_at"], name="ix_review_logs")
        ]


class ConfigOverride(models.Model):
    """A row of config_overrides."""

    key = models.CharField(primary_key=True)
    value = models.CharField()
    updated_at = models.DateTimeField(auto_now=True, db_default=Now())
    updated_by = models.CharField(db_default="system")

    class Meta:
        """Table."""

        db_table = "config_overrides"


class ErrorLog(models.Model):
    """A row of error_logs."""

    pipeline_run = models.ForeignKey(
        PipelineRun, models.DO_NOTHING, null=True, related_name="error_logs"
    )
    module = models.CharField()
    error_type = models.CharField()
    error_message = models.TextField()
    stack_trace = models.TextField(null=True)
    occurred_at = models.DateTimeField(db_default=Now())
    resolved = models.IntegerField(db_default=0)

    class Meta:
        """Table and indexes."""

        db_table = "error_logs"
        indexes: ClassVar = [
            models.Index(fields=["module", "occurred_at"], name="idx_error_log_module"),
            models.Index(fields=["resolved", "module", "occurred_at"], name="ix_error_logs"),
        ]
