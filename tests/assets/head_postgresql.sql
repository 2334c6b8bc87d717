CREATE TABLE analytics (
	id BIGSERIAL NOT NULL, 
	youtube_video_id VARCHAR NOT NULL, 
	measured_at TIMESTAMP WITH TIME ZONE DEFAULT CURRENT_TIMESTAMP NOT NULL, 
	view_count BIGINT, 
	like_count BIGINT, 
	comment_count BIGINT, 
	average_view_duration_seconds FLOAT, 
	click_through_rate FLOAT, 
	subscriber_gain BIGINT, 
	estimated_revenue_usd FLOAT, 
	CONSTRAINT pk_analytics PRIMARY KEY (id)
);
CREATE INDEX idx_analytics_video ON analytics (youtube_video_id, measured_at);
CREATE TABLE config_overrides (
	key VARCHAR NOT NULL, 
	value VARCHAR NOT NULL, 
	updated_at TIMESTAMP WITH TIME ZONE DEFAULT CURRENT_TIMESTAMP NOT NULL, 
	updated_by VARCHAR DEFAULT 'system' NOT NULL, 
	CONSTRAINT pk_config_overrides PRIMARY KEY (key)
);
CREATE TABLE discovered_videos (
	id BIGSERIAL NOT NULL, 
	video_id VARCHAR NOT NULL, 
	title VARCHAR NOT NULL, 
	channel_name VARCHAR NOT NULL, 
	channel_id VARCHAR NOT NULL, 
	url VARCHAR NOT NULL, 
	category_id BIGINT, 
	duration_seconds BIGINT, 
	view_count BIGINT, 
	like_count BIGINT, 
	comment_count BIGINT, 
	view_velocity FLOAT, 
	viral_score FLOAT, 
	niche VARCHAR NOT NULL, 
	discovery_source VARCHAR, 
	discovered_at TIMESTAMP WITH TIME ZONE NOT NULL, 
	processed BIGINT NOT NULL, 
	content_id_risk VARCHAR NOT NULL, 
	CONSTRAINT pk_discovered_videos PRIMARY KEY (id), 
	CONSTRAINT uq_discovered_videos_video_id UNIQUE (video_id)
);
CREATE INDEX idx_discovered_videos_niche ON discovered_videos (niche, discovered_at);
CREATE INDEX idx_discovered_videos_processed ON discovered_videos (processed);
CREATE TABLE pipeline_runs (
	id BIGSERIAL NOT NULL, 
	niche VARCHAR NOT NULL, 
	cycle_start TIMESTAMP WITH TIME ZONE NOT NULL, 
	cycle_end TIMESTAMP WITH TIME ZONE NOT NULL, 
	status VARCHAR NOT NULL, 
	started_at TIMESTAMP WITH TIME ZONE, 
	completed_at TIMESTAMP WITH TIME ZONE, 
	video_file_path VARCHAR, 
	video_duration_seconds FLOAT, 
	video_file_size_bytes BIGINT, 
	youtube_video_id VARCHAR, 
	youtube_url VARCHAR, 
	error_message TEXT, 
	retry_count BIGINT NOT NULL, 
	CONSTRAINT pk_pipeline_runs PRIMARY KEY (id)
);
CREATE INDEX idx_pipeline_runs_niche ON pipeline_runs (niche, cycle_start);
CREATE INDEX idx_pipeline_runs_status ON pipeline_runs (status);
CREATE TABLE clips (
	id BIGSERIAL NOT NULL, 
	pipeline_run_id BIGINT NOT NULL, 
	discovered_video_id BIGINT NOT NULL, 
	rank_position BIGINT NOT NULL, 
	start_time_seconds FLOAT NOT NULL, 
	end_time_seconds FLOAT NOT NULL, 
	clip_duration_seconds FLOAT NOT NULL, 
	extraction_method VARCHAR, 
	clip_file_path VARCHAR, 
	content_id_risk VARCHAR NOT NULL, 
	CONSTRAINT pk_clips PRIMARY KEY (id), 
	CONSTRAINT fk_clips_pipeline_run_id_pipeline_runs FOREIGN KEY(pipeline_run_id) REFERENCES pipeline_runs (id), 
	CONSTRAINT fk_clips_discovered_video_id_discovered_videos FOREIGN KEY(discovered_video_id) REFERENCES discovered_videos (id)
);
CREATE INDEX idx_clips_pipeline ON clips (pipeline_run_id);
CREATE TABLE error_logs (
	id BIGSERIAL NOT NULL, 
	pipeline_run_id BIGINT, 
	module VARCHAR NOT NULL, 
	error_type VARCHAR NOT NULL, 
	error_message TEXT NOT NULL, 
	stack_trace TEXT, 
	occurred_at TIMESTAMP WITH TIME ZONE DEFAULT CURRENT_TIMESTAMP NOT NULL, 
	resolved BIGINT DEFAULT 0 NOT NULL, 
	CONSTRAINT pk_error_logs PRIMARY KEY (id), 
	CONSTRAINT fk_error_logs_pipeline_run_id_pipeline_runs FOREIGN KEY(pipeline_run_id) REFERENCES pipeline_runs (id)
);
CREATE INDEX idx_error_log_module ON error_logs (module, occurred_at);
CREATE INDEX ix_error_logs_pipeline_run_id ON error_logs (pipeline_run_id);
CREATE INDEX ix_error_logs_resolved_module_occurred_at ON error_logs (resolved, module, occurred_at);
CREATE TABLE review_logs (
	id BIGSERIAL NOT NULL, 
	pipeline_run_id BIGINT NOT NULL, 
	sent_at TIMESTAMP WITH TIME ZONE DEFAULT CURRENT_TIMESTAMP NOT NULL, 
	responded_at TIMESTAMP WITH TIME ZONE, 
	action VARCHAR, 
	response_detail VARCHAR, 
	auto_held BIGINT DEFAULT 0 NOT NULL, 
	CONSTRAINT pk_review_logs PRIMARY KEY (id), 
	CONSTRAINT fk_review_logs_pipeline_run_id_pipeline_runs FOREIGN KEY(pipeline_run_id) REFERENCES pipeline_runs (id)
);
CREATE INDEX ix_review_logs_auto_held_responded_at_sent_at ON review_logs (auto_held, responded_at, sent_at);
CREATE INDEX ix_review_logs_pipeline_run_id ON review_logs (pipeline_run_id);
CREATE TABLE scripts (
	id BIGSERIAL NOT NULL, 
	pipeline_run_id BIGINT NOT NULL, 
	opening_text TEXT, 
	closing_text TEXT, 
	full_script_json TEXT NOT NULL, 
	total_char_count BIGINT NOT NULL, 
	estimated_duration_seconds FLOAT NOT NULL, 
	llm_model_used TEXT NOT NULL, 
	generated_at TIMESTAMP WITH TIME ZONE DEFAULT CURRENT_TIMESTAMP NOT NULL, 
	CONSTRAINT pk_scripts PRIMARY KEY (id), 
	CONSTRAINT fk_scripts_pipeline_run_id_pipeline_runs FOREIGN KEY(pipeline_run_id) REFERENCES pipeline_runs (id)
);
CREATE INDEX ix_scripts_pipeline_run_id ON scripts (pipeline_run_id);
CREATE TABLE tts_audio (
	id BIGSERIAL NOT NULL, 
	pipeline_run_id BIGINT NOT NULL, 
	engine_used VARCHAR NOT NULL, 
	voice_profile VARCHAR, 
	audio_file_path VARCHAR, 
	duration_seconds FLOAT, 
	generated_at TIMESTAMP WITH TIME ZONE DEFAULT CURRENT_TIMESTAMP NOT NULL, 
	CONSTRAINT pk_tts_audio PRIMARY KEY (id), 
	CONSTRAINT fk_tts_audio_pipeline_run_id_pipeline_runs FOREIGN KEY(pipeline_run_id) REFERENCES pipeline_runs (id)
);
CREATE INDEX ix_tts_audio_pipeline_run_id ON tts_audio (pipeline_run_id);
CREATE TABLE shorts (
	id BIGSERIAL NOT NULL, 
	pipeline_run_id BIGINT NOT NULL, 
	clip_id BIGINT, 
	file_path VARCHAR, 
	duration_seconds FLOAT, 
	title VARCHAR, 
	description TEXT, 
	youtube_video_id VARCHAR, 
	youtube_url VARCHAR, 
	status VARCHAR DEFAULT 'pending' NOT NULL, 
	uploaded_at TIMESTAMP WITH TIME ZONE, 
	CONSTRAINT pk_shorts PRIMARY KEY (id), 
	CONSTRAINT fk_shorts_pipeline_run_id_pipeline_runs FOREIGN KEY(pipeline_run_id) REFERENCES pipeline_runs (id), 
	CONSTRAINT fk_shorts_clip_id_clips FOREIGN KEY(clip_id) REFERENCES clips (id)
);
CREATE INDEX ix_shorts_clip_id ON shorts (clip_id);
CREATE INDEX ix_shorts_pipeline_run_id ON shorts (pipeline_run_id);
CREATE INDEX ix_shorts_status ON shorts (status);
