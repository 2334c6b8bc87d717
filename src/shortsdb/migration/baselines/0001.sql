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
