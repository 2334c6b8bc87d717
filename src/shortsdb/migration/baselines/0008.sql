CREATE TABLE discovered_videos (
	id INTEGER NOT NULL, 
	video_id VARCHAR NOT NULL, 
	title VARCHAR NOT NULL, 
	channel_name VARCHAR NOT NULL, 
	channel_id VARCHAR NOT NULL, 
	url VARCHAR NOT NULL, 
	category_id INTEGER, 
	duration_seconds INTEGER, 
	view_count INTEGER, 
	like_count INTEGER, 
	comment_count INTEGER, 
	view_velocity FLOAT, 
	viral_score FLOAT, 
	niche VARCHAR NOT NULL, 
	discovery_source VARCHAR, 
	discovered_at DATETIME NOT NULL, 
	processed INTEGER NOT NULL, 
	content_id_risk VARCHAR NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (video_id)
);
CREATE INDEX idx_discovered_videos_processed ON discovered_videos (processed);
CREATE INDEX idx_discovered_videos_niche ON discovered_videos (niche, discovered_at);
CREATE TABLE pipeline_runs (
	id INTEGER NOT NULL, 
	niche VARCHAR NOT NULL, 
	cycle_start DATETIME NOT NULL, 
	cycle_end DATETIME NOT NULL, 
	status VARCHAR NOT NULL, 
	started_at DATETIME, 
	completed_at DATETIME, 
	video_file_path VARCHAR, 
	video_duration_seconds FLOAT, 
	video_file_size_bytes INTEGER, 
	youtube_video_id VARCHAR, 
	youtube_url VARCHAR, 
	error_message TEXT, 
	retry_count INTEGER NOT NULL, 
	PRIMARY KEY (id)
);
CREATE INDEX idx_pipeline_runs_niche ON pipeline_runs (niche, cycle_start);
CREATE INDEX idx_pipeline_runs_status ON pipeline_runs (status);
CREATE TABLE clips (
	id INTEGER NOT NULL, 
	pipeline_run_id INTEGER NOT NULL, 
	discovered_video_id INTEGER NOT NULL, 
	rank_position INTEGER NOT NULL, 
	start_time_seconds FLOAT NOT NULL, 
	end_time_seconds FLOAT NOT NULL, 
	clip_duration_seconds FLOAT NOT NULL, 
	extraction_method VARCHAR, 
	clip_file_path VARCHAR, 
	content_id_risk VARCHAR NOT NULL, 
	PRIMARY KEY (id), 
	FOREIGN KEY(pipeline_run_id) REFERENCES pipeline_runs (id), 
	FOREIGN KEY(discovered_video_id) REFERENCES discovered_videos (id)
);
CREATE INDEX idx_clips_pipeline ON clips (pipeline_run_id);
CREATE TABLE scripts (
	id INTEGER NOT NULL, 
	pipeline_run_id INTEGER NOT NULL, 
	opening_text TEXT, 
	closing_text TEXT, 
	full_script_json TEXT NOT NULL, 
	total_char_count INTEGER NOT NULL, 
	estimated_duration_seconds FLOAT NOT NULL, 
	llm_model_used TEXT NOT NULL, 
	generated_at DATETIME DEFAULT CURRENT_TIMESTAMP NOT NULL, 
	CONSTRAINT pk_scripts PRIMARY KEY (id), 
	CONSTRAINT fk_scripts_pipeline_run_id_pipeline_runs FOREIGN KEY(pipeline_run_id) REFERENCES pipeline_runs (id)
);
CREATE INDEX ix_scripts_pipeline_run_id ON scripts (pipeline_run_id);
CREATE TABLE tts_audio (
	id INTEGER NOT NULL, 
	pipeline_run_id INTEGER NOT NULL, 
	engine_used VARCHAR NOT NULL, 
	voice_profile VARCHAR, 
	audio_file_path VARCHAR, 
	duration_seconds FLOAT, 
	generated_at DATETIME DEFAULT CURRENT_TIMESTAMP NOT NULL, 
	CONSTRAINT pk_tts_audio PRIMARY KEY (id), 
	CONSTRAINT fk_tts_audio_pipeline_run_id_pipeline_runs FOREIGN KEY(pipeline_run_id) REFERENCES pipeline_runs (id)
);
CREATE INDEX ix_tts_audio_pipeline_run_id ON tts_audio (pipeline_run_id);
CREATE TABLE shorts (
	id INTEGER NOT NULL, 
	pipeline_run_id INTEGER NOT NULL, 
	clip_id INTEGER, 
	file_path VARCHAR, 
	duration_seconds FLOAT, 
	title VARCHAR, 
	description TEXT, 
	youtube_video_id VARCHAR, 
	youtube_url VARCHAR, 
	status VARCHAR DEFAULT 'pending' NOT NULL, 
	uploaded_at DATETIME, 
	CONSTRAINT pk_shorts PRIMARY KEY (id), 
	CONSTRAINT fk_shorts_pipeline_run_id_pipeline_runs FOREIGN KEY(pipeline_run_id) REFERENCES pipeline_runs (id), 
	CONSTRAINT fk_shorts_clip_id_clips FOREIGN KEY(clip_id) REFERENCES clips (id)
);
CREATE INDEX ix_shorts_pipeline_run_id ON shorts (pipeline_run_id);
CREATE INDEX ix_shorts_clip_id ON shorts (clip_id);
CREATE INDEX ix_shorts_status ON shorts (status);
CREATE TABLE analytics (
	id INTEGER NOT NULL, 
	youtube_video_id VARCHAR NOT NULL, 
	measured_at DATETIME DEFAULT CURRENT_TIMESTAMP NOT NULL, 
	view_count INTEGER, 
	like_count INTEGER, 
	comment_count INTEGER, 
	average_view_duration_seconds FLOAT, 
	click_through_rate FLOAT, 
	subscriber_gain INTEGER, 
	estimated_revenue_usd FLOAT, 
	CONSTRAINT pk_analytics PRIMARY KEY (id)
);
CREATE INDEX idx_analytics_video ON analytics (youtube_video_id, measured_at);
CREATE TABLE review_logs (
	id INTEGER NOT NULL, 
	pipeline_run_id INTEGER NOT NULL, 
	sent_at DATETIME DEFAULT CURRENT_TIMESTAMP NOT NULL, 
	responded_at DATETIME, 
	action VARCHAR, 
	response_detail VARCHAR, 
	auto_held INTEGER DEFAULT 0 NOT NULL, 
	CONSTRAINT pk_review_logs PRIMARY KEY (id), 
	CONSTRAINT fk_review_logs_pipeline_run_id_pipeline_runs FOREIGN KEY(pipeline_run_id) REFERENCES pipeline_runs (id)
);
CREATE INDEX ix_review_logs_pipeline_run_id ON review_logs (pipeline_run_id);
CREATE INDEX ix_review_logs_auto_held_responded_at_sent_at ON review_logs (auto_held, responded_at, sent_at);
CREATE TABLE config_overrides (
	"key" VARCHAR NOT NULL, 
	value VARCHAR NOT NULL, 
	updated_at DATETIME DEFAULT CURRENT_TIMESTAMP NOT NULL, 
	updated_by VARCHAR DEFAULT 'system' NOT NULL, 
	CONSTRAINT pk_config_overrides PRIMARY KEY ("key")
);
CREATE TABLE error_logs (
	id INTEGER NOT NULL, 
	pipeline_run_id INTEGER, 
	module VARCHAR NOT NULL, 
	error_type VARCHAR NOT NULL, 
	error_message TEXT NOT NULL, 
	stack_trace TEXT, 
	occurred_at DATETIME DEFAULT CURRENT_TIMESTAMP NOT NULL, 
	resolved INTEGER DEFAULT 0 NOT NULL, 
	CONSTRAINT pk_error_logs PRIMARY KEY (id), 
	CONSTRAINT fk_error_logs_pipeline_run_id_pipeline_runs FOREIGN KEY(pipeline_run_id) REFERENCES pipeline_runs (id)
);
CREATE INDEX idx_error_log_module ON error_logs (module, occurred_at);
CREATE INDEX ix_error_logs_resolved_module_occurred_at ON error_logs (resolved, module, occurred_at);
CREATE INDEX ix_error_logs_pipeline_run_id ON error_logs (pipeline_run_id);
