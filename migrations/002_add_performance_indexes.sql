-- Sepulki platform: indexes for the queries of the application.
--
-- One transaction, without CONCURRENTLY: it follows 001 on tables that are empty or small. An index
-- on a large live table belongs into a migration of its own.
--
-- Naming: <table>_<columns or purpose>_idx, _gin_idx for arrays and JSONB, _trgm_idx for text search.
--   * Partial indexes hold the few rows that a screen or a worker asks for again and again. Their
--     predicates compare columns with constants only; an age ("not seen for five minutes") is part
--     of the query, because now() is not immutable.
--   * JSONB is indexed with jsonb_path_ops: smaller and faster than the default, for the one
--     operator that is used, containment (@>).
--   * Trigram indexes serve ILIKE '%…%' and similarity search.

BEGIN;

-- smiths: user administration -------------------------------------------------------------------
CREATE INDEX smiths_role_active_idx ON smiths (role, name) WHERE is_active;
CREATE INDEX smiths_inactive_idx ON smiths (updated_at DESC) WHERE NOT is_active;
CREATE INDEX smiths_last_login_at_idx ON smiths (last_login_at) WHERE is_active;
CREATE INDEX smiths_permissions_gin_idx ON smiths USING gin (permissions);
CREATE INDEX smiths_name_trgm_idx ON smiths USING gin (name gin_trgm_ops);
CREATE INDEX smiths_email_trgm_idx ON smiths USING gin (email gin_trgm_ops);

-- patterns: the catalogue of templates ----------------------------------------------------------
CREATE INDEX patterns_category_name_idx ON patterns (category, name);
CREATE INDEX patterns_tags_gin_idx ON patterns USING gin (tags);
CREATE INDEX patterns_parameters_gin_idx ON patterns USING gin (parameters jsonb_path_ops);
CREATE INDEX patterns_name_trgm_idx ON patterns USING gin (name gin_trgm_ops);
CREATE INDEX patterns_description_trgm_idx ON patterns USING gin (description gin_trgm_ops);

-- alloys: the catalogue of parts ----------------------------------------------------------------
CREATE INDEX alloys_type_name_idx ON alloys (type, name);
CREATE INDEX alloys_tags_gin_idx ON alloys USING gin (tags);
CREATE INDEX alloys_specifications_gin_idx ON alloys USING gin (specifications jsonb_path_ops);
CREATE INDEX alloys_compatibility_gin_idx ON alloys USING gin (compatibility jsonb_path_ops);
CREATE INDEX alloys_name_trgm_idx ON alloys USING gin (name gin_trgm_ops);

-- sepulkas: "my designs", the casting queue -----------------------------------------------------
CREATE INDEX sepulkas_created_by_updated_at_idx ON sepulkas (created_by, updated_at DESC);
CREATE INDEX sepulkas_status_updated_at_idx ON sepulkas (status, updated_at DESC);
CREATE INDEX sepulkas_cast_failed_idx ON sepulkas (created_by, updated_at DESC) WHERE status = 'CAST_FAILED';
CREATE INDEX sepulkas_name_version_idx ON sepulkas (name, version);
CREATE INDEX sepulkas_parameters_gin_idx ON sepulkas USING gin (parameters jsonb_path_ops);
CREATE INDEX sepulkas_name_trgm_idx ON sepulkas USING gin (name gin_trgm_ops);

-- ingots: builds of a design, what can be deployed ----------------------------------------------
CREATE INDEX ingots_sepulka_id_created_at_idx ON ingots (sepulka_id, created_at DESC);
CREATE INDEX ingots_status_created_at_idx ON ingots (status, created_at DESC);
CREATE INDEX ingots_in_progress_idx ON ingots (updated_at) WHERE status IN ('BUILDING', 'TEMPERING');
CREATE INDEX ingots_failed_idx ON ingots (sepulka_id, updated_at DESC)
    WHERE status IN ('BUILD_FAILED', 'TEMPER_FAILED');
CREATE INDEX ingots_deployable_idx ON ingots (sepulka_id, version) WHERE status = 'TEMPERED';
CREATE INDEX ingots_artifacts_gin_idx ON ingots USING gin (artifacts jsonb_path_ops);

-- loci, factory floors --------------------------------------------------------------------------
CREATE INDEX loci_name_trgm_idx ON loci USING gin (name gin_trgm_ops);
CREATE INDEX loci_safety_zones_gin_idx ON loci USING gin (safety_zones jsonb_path_ops);
CREATE INDEX factory_floors_name_trgm_idx ON factory_floors USING gin (name gin_trgm_ops);

-- fleets: the overview --------------------------------------------------------------------------
CREATE INDEX fleets_status_name_idx ON fleets (status, name);
CREATE INDEX fleets_needs_attention_idx ON fleets (updated_at DESC) WHERE status IN ('MAINTENANCE', 'ERROR');
CREATE INDEX fleets_name_trgm_idx ON fleets USING gin (name gin_trgm_ops);

-- robots: dispatching, and the dashboards that watch them ---------------------------------------
-- Robots report every few seconds, and every index on a reported column makes that update dearer:
-- battery, health and position are indexed only for the few rows that matter.
CREATE INDEX robots_fleet_id_status_idx ON robots (fleet_id, status);
CREATE INDEX robots_status_idx ON robots (status);
CREATE INDEX robots_available_idx ON robots (fleet_id, battery_level DESC) WHERE status = 'IDLE';
CREATE INDEX robots_needs_attention_idx ON robots (updated_at DESC) WHERE status IN ('MAINTENANCE', 'ERROR');
CREATE INDEX robots_silent_idx ON robots (last_seen) WHERE status <> 'OFFLINE';
CREATE INDEX robots_low_battery_idx ON robots (battery_level) WHERE battery_level < 20;
CREATE INDEX robots_poor_health_idx ON robots (health_score) WHERE health_score < 50;
CREATE INDEX robots_floor_position_idx ON robots (factory_floor_id, floor_x_metres, floor_y_metres)
    WHERE factory_floor_id IS NOT NULL;
CREATE INDEX robots_name_trgm_idx ON robots USING gin (name gin_trgm_ops);

-- tasks: the queue and its history --------------------------------------------------------------
CREATE INDEX tasks_queue_idx ON tasks (priority DESC, created_at) WHERE status = 'PENDING';
CREATE INDEX tasks_due_idx ON tasks (scheduled_at) WHERE status = 'PENDING' AND scheduled_at IS NOT NULL;
CREATE INDEX tasks_in_progress_idx ON tasks (updated_at) WHERE status IN ('ASSIGNED', 'IN_PROGRESS');
CREATE INDEX tasks_urgent_idx ON tasks (created_at)
    WHERE priority = 'URGENT' AND status IN ('PENDING', 'ASSIGNED', 'IN_PROGRESS');
CREATE INDEX tasks_status_updated_at_idx ON tasks (status, updated_at DESC);
CREATE INDEX tasks_type_status_idx ON tasks (type, status);
CREATE INDEX tasks_created_by_created_at_idx ON tasks (created_by, created_at DESC);
CREATE INDEX tasks_parameters_gin_idx ON tasks USING gin (parameters jsonb_path_ops);
CREATE INDEX tasks_description_trgm_idx ON tasks USING gin (description gin_trgm_ops);

-- runs: what a task or a robot did --------------------------------------------------------------
CREATE INDEX runs_task_id_created_at_idx ON runs (task_id, created_at DESC);
CREATE INDEX runs_robot_id_started_at_idx ON runs (robot_id, started_at DESC);
CREATE INDEX runs_active_idx ON runs (robot_id) WHERE status IN ('PENDING', 'RUNNING');
CREATE INDEX runs_failed_idx ON runs (completed_at DESC) WHERE status = 'FAILED';
CREATE INDEX runs_status_created_at_idx ON runs (status, created_at DESC);
CREATE INDEX runs_result_gin_idx ON runs USING gin (result jsonb_path_ops);

-- edicts and violations: the policy engine ------------------------------------------------------
CREATE INDEX edicts_active_type_severity_idx ON edicts (type, severity DESC) WHERE active;
CREATE INDEX edicts_rules_gin_idx ON edicts USING gin (rules jsonb_path_ops);
CREATE INDEX edicts_applies_to_gin_idx ON edicts USING gin (applies_to jsonb_path_ops) WHERE active;
CREATE INDEX policy_violations_edict_id_detected_at_idx ON policy_violations (edict_id, detected_at DESC);
CREATE INDEX policy_violations_entity_idx ON policy_violations (entity_type, entity_id, detected_at DESC);
CREATE INDEX policy_violations_open_idx ON policy_violations (detected_at DESC) WHERE resolved_at IS NULL;
CREATE INDEX policy_violations_details_gin_idx ON policy_violations USING gin (details jsonb_path_ops);

-- audit stamps: the history of an entity, of a person, of an action ------------------------------
CREATE INDEX audit_stamps_entity_idx ON audit_stamps (entity_type, entity_id, timestamp DESC);
CREATE INDEX audit_stamps_actor_timestamp_idx ON audit_stamps (actor, timestamp DESC);
CREATE INDEX audit_stamps_action_timestamp_idx ON audit_stamps (action, timestamp DESC);
CREATE INDEX audit_stamps_changes_gin_idx ON audit_stamps USING gin (changes jsonb_path_ops);
-- Rows are appended in the order of time, so a block-range index finds a period in a few pages.
CREATE INDEX audit_stamps_timestamp_brin_idx ON audit_stamps USING brin (timestamp);

COMMIT;
