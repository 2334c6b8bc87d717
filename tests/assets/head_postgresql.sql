CREATE TABLE public.analytics (
    id bigint NOT NULL,
    youtube_video_id character varying NOT NULL,
    measured_at timestamp with time zone DEFAULT CURRENT_TIMESTAMP NOT NULL,
    view_count bigint,
    like_count bigint,
    comment_count bigint,
    average_view_duration_seconds double precision,
    click_through_rate double precision,
    subscriber_gain bigint,
    estimated_revenue_usd double precision
);
CREATE SEQUENCE public.analytics_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.analytics_id_seq OWNED BY public.analytics.id;
CREATE TABLE public.clips (
    id bigint NOT NULL,
    pipeline_run_id bigint NOT NULL,
    discovered_video_id bigint NOT NULL,
    rank_position bigint NOT NULL,
    start_time_seconds double precision NOT NULL,
    end_time_seconds double precision NOT NULL,
    clip_duration_seconds double precision NOT NULL,
    extraction_method character varying,
    clip_file_path character varying,
    content_id_risk character varying NOT NULL
);
CREATE SEQUENCE public.clips_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.clips_id_seq OWNED BY public.clips.id;
CREATE TABLE public.config_overrides (
    key character varying NOT NULL,
    value character varying NOT NULL,
    updated_at timestamp with time zone DEFAULT CURRENT_TIMESTAMP NOT NULL,
    updated_by character varying DEFAULT 'system'::character varying NOT NULL
);
CREATE TABLE public.discovered_videos (
    id bigint NOT NULL,
    video_id character varying NOT NULL,
    title character varying NOT NULL,
    channel_name character varying NOT NULL,
    channel_id character varying NOT NULL,
    url character varying NOT NULL,
    category_id bigint,
    duration_seconds bigint,
    view_count bigint,
    like_count bigint,
    comment_count bigint,
    view_velocity double precision,
    viral_score double precision,
    niche character varying NOT NULL,
    discovery_source character varying,
    discovered_at timestamp with time zone NOT NULL,
    processed bigint NOT NULL,
    content_id_risk character varying NOT NULL
);
CREATE SEQUENCE public.discovered_videos_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.discovered_videos_id_seq OWNED BY public.discovered_videos.id;
CREATE TABLE public.error_logs (
    id bigint NOT NULL,
    pipeline_run_id bigint,
    module character varying NOT NULL,
    error_type character varying NOT NULL,
    error_message text NOT NULL,
    stack_trace text,
    occurred_at timestamp with time zone DEFAULT CURRENT_TIMESTAMP NOT NULL,
    resolved bigint DEFAULT 0 NOT NULL
);
CREATE SEQUENCE public.error_logs_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.error_logs_id_seq OWNED BY public.error_logs.id;
CREATE TABLE public.pipeline_runs (
    id bigint NOT NULL,
    niche character varying NOT NULL,
    cycle_start timestamp with time zone NOT NULL,
    cycle_end timestamp with time zone NOT NULL,
    status character varying NOT NULL,
    started_at timestamp with time zone,
    completed_at timestamp with time zone,
    video_file_path character varying,
    video_duration_seconds double precision,
    video_file_size_bytes bigint,
    youtube_video_id character varying,
    youtube_url character varying,
    error_message text,
    retry_count bigint NOT NULL
);
CREATE SEQUENCE public.pipeline_runs_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.pipeline_runs_id_seq OWNED BY public.pipeline_runs.id;
CREATE TABLE public.review_logs (
    id bigint NOT NULL,
    pipeline_run_id bigint NOT NULL,
    sent_at timestamp with time zone DEFAULT CURRENT_TIMESTAMP NOT NULL,
    responded_at timestamp with time zone,
    action character varying,
    response_detail character varying,
    auto_held bigint DEFAULT 0 NOT NULL
);
CREATE SEQUENCE public.review_logs_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.review_logs_id_seq OWNED BY public.review_logs.id;
CREATE TABLE public.scripts (
    id bigint NOT NULL,
    pipeline_run_id bigint NOT NULL,
    opening_text text,
    closing_text text,
    full_script_json text NOT NULL,
    total_char_count bigint NOT NULL,
    estimated_duration_seconds double precision NOT NULL,
    llm_model_used text NOT NULL,
    generated_at timestamp with time zone DEFAULT CURRENT_TIMESTAMP NOT NULL
);
CREATE SEQUENCE public.scripts_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.scripts_id_seq OWNED BY public.scripts.id;
CREATE TABLE public.shorts (
    id bigint NOT NULL,
    pipeline_run_id bigint NOT NULL,
    clip_id bigint,
    file_path character varying,
    duration_seconds double precision,
    title character varying,
    description text,
    youtube_video_id character varying,
    youtube_url character varying,
    status character varying DEFAULT 'pending'::character varying NOT NULL,
    uploaded_at timestamp with time zone
);
CREATE SEQUENCE public.shorts_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.shorts_id_seq OWNED BY public.shorts.id;
CREATE TABLE public.tts_audio (
    id bigint NOT NULL,
    pipeline_run_id bigint NOT NULL,
    engine_used character varying NOT NULL,
    voice_profile character varying,
    audio_file_path character varying,
    duration_seconds double precision,
    generated_at timestamp with time zone DEFAULT CURRENT_TIMESTAMP NOT NULL
);
CREATE SEQUENCE public.tts_audio_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.tts_audio_id_seq OWNED BY public.tts_audio.id;
ALTER TABLE ONLY public.analytics ALTER COLUMN id SET DEFAULT nextval('public.analytics_id_seq'::regclass);
ALTER TABLE ONLY public.clips ALTER COLUMN id SET DEFAULT nextval('public.clips_id_seq'::regclass);
ALTER TABLE ONLY public.discovered_videos ALTER COLUMN id SET DEFAULT nextval('public.discovered_videos_id_seq'::regclass);
ALTER TABLE ONLY public.error_logs ALTER COLUMN id SET DEFAULT nextval('public.error_logs_id_seq'::regclass);
ALTER TABLE ONLY public.pipeline_runs ALTER COLUMN id SET DEFAULT nextval('public.pipeline_runs_id_seq'::regclass);
ALTER TABLE ONLY public.review_logs ALTER COLUMN id SET DEFAULT nextval('public.review_logs_id_seq'::regclass);
ALTER TABLE ONLY public.scripts ALTER COLUMN id SET DEFAULT nextval('public.scripts_id_seq'::regclass);
ALTER TABLE ONLY public.shorts ALTER COLUMN id SET DEFAULT nextval('public.shorts_id_seq'::regclass);
ALTER TABLE ONLY public.tts_audio ALTER COLUMN id SET DEFAULT nextval('public.tts_audio_id_seq'::regclass);
ALTER TABLE ONLY public.analytics
    ADD CONSTRAINT pk_analytics PRIMARY KEY (id);
ALTER TABLE ONLY public.clips
    ADD CONSTRAINT pk_clips PRIMARY KEY (id);
ALTER TABLE ONLY public.config_overrides
    ADD CONSTRAINT pk_config_overrides PRIMARY KEY (key);
ALTER TABLE ONLY public.discovered_videos
    ADD CONSTRAINT pk_discovered_videos PRIMARY KEY (id);
ALTER TABLE ONLY public.error_logs
    ADD CONSTRAINT pk_error_logs PRIMARY KEY (id);
ALTER TABLE ONLY public.pipeline_runs
    ADD CONSTRAINT pk_pipeline_runs PRIMARY KEY (id);
ALTER TABLE ONLY public.review_logs
    ADD CONSTRAINT pk_review_logs PRIMARY KEY (id);
ALTER TABLE ONLY public.scripts
    ADD CONSTRAINT pk_scripts PRIMARY KEY (id);
ALTER TABLE ONLY public.shorts
    ADD CONSTRAINT pk_shorts PRIMARY KEY (id);
ALTER TABLE ONLY public.tts_audio
    ADD CONSTRAINT pk_tts_audio PRIMARY KEY (id);
ALTER TABLE ONLY public.discovered_videos
    ADD CONSTRAINT uq_discovered_videos_video_id UNIQUE (video_id);
CREATE INDEX idx_analytics_video ON public.analytics USING btree (youtube_video_id, measured_at);
CREATE INDEX idx_clips_pipeline ON public.clips USING btree (pipeline_run_id);
CREATE INDEX idx_discovered_videos_niche ON public.discovered_videos USING btree (niche, discovered_at);
CREATE INDEX idx_discovered_videos_processed ON public.discovered_videos USING btree (processed);
CREATE INDEX idx_error_log_module ON public.error_logs USING btree (module, occurred_at);
CREATE INDEX idx_pipeline_runs_niche ON public.pipeline_runs USING btree (niche, cycle_start);
CREATE INDEX idx_pipeline_runs_status ON public.pipeline_runs USING btree (status);
CREATE INDEX ix_error_logs_pipeline_run_id ON public.error_logs USING btree (pipeline_run_id);
CREATE INDEX ix_error_logs_resolved_module_occurred_at ON public.error_logs USING btree (resolved, module, occurred_at);
CREATE INDEX ix_review_logs_auto_held_responded_at_sent_at ON public.review_logs USING btree (auto_held, responded_at, sent_at);
CREATE INDEX ix_review_logs_pipeline_run_id ON public.review_logs USING btree (pipeline_run_id);
CREATE INDEX ix_scripts_pipeline_run_id ON public.scripts USING btree (pipeline_run_id);
CREATE INDEX ix_shorts_clip_id ON public.shorts USING btree (clip_id);
CREATE INDEX ix_shorts_pipeline_run_id ON public.shorts USING btree (pipeline_run_id);
CREATE INDEX ix_shorts_status ON public.shorts USING btree (status);
CREATE INDEX ix_tts_audio_pipeline_run_id ON public.tts_audio USING btree (pipeline_run_id);
ALTER TABLE ONLY public.clips
    ADD CONSTRAINT fk_clips_discovered_video_id_discovered_videos FOREIGN KEY (discovered_video_id) REFERENCES public.discovered_videos(id);
ALTER TABLE ONLY public.clips
    ADD CONSTRAINT fk_clips_pipeline_run_id_pipeline_runs FOREIGN KEY (pipeline_run_id) REFERENCES public.pipeline_runs(id);
ALTER TABLE ONLY public.error_logs
    ADD CONSTRAINT fk_error_logs_pipeline_run_id_pipeline_runs FOREIGN KEY (pipeline_run_id) REFERENCES public.pipeline_runs(id);
ALTER TABLE ONLY public.review_logs
    ADD CONSTRAINT fk_review_logs_pipeline_run_id_pipeline_runs FOREIGN KEY (pipeline_run_id) REFERENCES public.pipeline_runs(id);
ALTER TABLE ONLY public.scripts
    ADD CONSTRAINT fk_scripts_pipeline_run_id_pipeline_runs FOREIGN KEY (pipeline_run_id) REFERENCES public.pipeline_runs(id);
ALTER TABLE ONLY public.shorts
    ADD CONSTRAINT fk_shorts_clip_id_clips FOREIGN KEY (clip_id) REFERENCES public.clips(id);
ALTER TABLE ONLY public.shorts
    ADD CONSTRAINT fk_shorts_pipeline_run_id_pipeline_runs FOREIGN KEY (pipeline_run_id) REFERENCES public.pipeline_runs(id);
ALTER TABLE ONLY public.tts_audio
    ADD CONSTRAINT fk_tts_audio_pipeline_run_id_pipeline_runs FOREIGN KEY (pipeline_run_id) REFERENCES public.pipeline_runs(id);
