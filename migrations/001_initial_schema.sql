-- Sepulki platform: initial schema.
--
-- Runs as the owner of the database, who needs no superuser rights: the three extensions are
-- trusted ones. PostgreSQL 15 or later. The whole file is one transaction: all of it or nothing.
--
-- Conventions
--   * Primary keys are UUIDs, made by gen_random_uuid().
--   * A reference is called <table>_id; a reference to a smith is called by what the smith did
--     (created_by, actor, resolved_by).
--   * Every time is TIMESTAMPTZ. updated_at is kept by a trigger, never by the application.
--   * Free-form data is JSONB and always an object; what is queried or checked is a column.
--   * Smiths are deactivated (is_active), not deleted: designs, tasks and audit stamps name them.
--
-- Indexes: this file has those that a constraint or a plain foreign-key lookup needs. Foreign keys
-- that 002_add_performance_indexes.sql covers with a wider index are left to it.

BEGIN;

-- ---------------------------------------------------------------------------------------------
-- Extensions
-- ---------------------------------------------------------------------------------------------

-- uuid-ossp gives the sample rows name-based ids, the same ones in every environment. pg_trgm is for the
-- fuzzy search indexes of 002. pgcrypto is for the platform's services; nothing here calls it.
CREATE EXTENSION IF NOT EXISTS "uuid-ossp";
CREATE EXTENSION IF NOT EXISTS pgcrypto;
CREATE EXTENSION IF NOT EXISTS pg_trgm;

-- ---------------------------------------------------------------------------------------------
-- Enum types
-- ---------------------------------------------------------------------------------------------
-- The order of the labels is their sort order: task_priority sorts by urgency, edict_severity by
-- gravity.

CREATE TYPE smith_role AS ENUM ('SMITH', 'OVER_SMITH', 'ADMIN');

CREATE TYPE pattern_category AS ENUM (
    'INDUSTRIAL_ARM', 'MOBILE_ROBOT', 'HUMANOID', 'QUADRUPED', 'DRONE', 'CUSTOM'
);

CREATE TYPE alloy_type AS ENUM (
    'ACTUATOR', 'SENSOR', 'CONTROLLER', 'END_EFFECTOR', 'CHASSIS', 'POWER', 'COMMUNICATION'
);

CREATE TYPE sepulka_status AS ENUM ('FORGING', 'CAST_READY', 'CASTING', 'CAST_FAILED', 'READY');

CREATE TYPE ingot_status AS ENUM (
    'BUILDING', 'BUILD_FAILED', 'READY', 'TEMPERING', 'TEMPER_FAILED', 'TEMPERED', 'DEPLOYED'
);

CREATE TYPE fleet_status AS ENUM ('IDLE', 'ACTIVE', 'MAINTENANCE', 'ERROR', 'OFFLINE');

CREATE TYPE robot_status AS ENUM (
    'IDLE', 'WORKING', 'CHARGING', 'MAINTENANCE', 'ERROR', 'OFFLINE'
);

CREATE TYPE task_type AS ENUM (
    'PICK_AND_PLACE', 'ASSEMBLY', 'INSPECTION', 'TRANSPORT', 'MAINTENANCE', 'PATROL', 'CUSTOM'
);

CREATE TYPE task_status AS ENUM (
    'PENDING', 'ASSIGNED', 'IN_PROGRESS', 'COMPLETED', 'FAILED', 'CANCELLED'
);

CREATE TYPE task_priority AS ENUM ('LOW', 'NORMAL', 'HIGH', 'URGENT');

CREATE TYPE run_status AS ENUM ('PENDING', 'RUNNING', 'COMPLETED', 'FAILED', 'CANCELLED');

CREATE TYPE edict_type AS ENUM ('SAFETY', 'PERFORMANCE', 'COMPLIANCE', 'OPERATIONAL');

CREATE TYPE edict_severity AS ENUM ('INFO', 'WARNING', 'CRITICAL');

-- ---------------------------------------------------------------------------------------------
-- People
-- ---------------------------------------------------------------------------------------------

CREATE TABLE smiths (
    id            UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    email         TEXT NOT NULL UNIQUE,
    name          TEXT NOT NULL,
    password_hash TEXT,
    role          smith_role NOT NULL DEFAULT 'SMITH',
    permissions   TEXT[] NOT NULL DEFAULT '{}',
    is_active     BOOLEAN NOT NULL DEFAULT true,
    preferences   JSONB NOT NULL DEFAULT '{}',
    last_login_at TIMESTAMPTZ,
    created_at    TIMESTAMPTZ NOT NULL DEFAULT now(),
    updated_at    TIMESTAMPTZ NOT NULL DEFAULT now(),
    CONSTRAINT smiths_email_format CHECK (email = lower(email) AND email ~ '^[^@\s]+@[^@\s]+$'),
    -- $2b$…, $argon2id$…: a password stored as it was typed is refused.
    CONSTRAINT smiths_password_hash_format CHECK (password_hash ~ '^\$[a-z0-9-]+\$'),
    CONSTRAINT smiths_preferences_object CHECK (jsonb_typeof(preferences) = 'object')
);
COMMENT ON TABLE smiths IS 'People who use the platform. Row-level security: see the policies.';
COMMENT ON COLUMN smiths.email IS 'Login name; lower case, so that it is unique whatever is typed.';
COMMENT ON COLUMN smiths.password_hash IS
    'Hash with its algorithm and parameters ($argon2id$…, $2b$…). NULL: no login by password.';
COMMENT ON COLUMN smiths.permissions IS 'Rights beyond those of the role.';

-- ---------------------------------------------------------------------------------------------
-- Designs: patterns and alloys make sepulkas, sepulkas are cast into ingots
-- ---------------------------------------------------------------------------------------------

CREATE TABLE patterns (
    id          UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    name        TEXT NOT NULL UNIQUE,
    description TEXT NOT NULL DEFAULT '',
    category    pattern_category NOT NULL,
    parameters  JSONB NOT NULL DEFAULT '{}',
    defaults    JSONB NOT NULL DEFAULT '{}',
    template    TEXT NOT NULL DEFAULT '',
    tags        TEXT[] NOT NULL DEFAULT '{}',
    created_at  TIMESTAMPTZ NOT NULL DEFAULT now(),
    updated_at  TIMESTAMPTZ NOT NULL DEFAULT now(),
    CONSTRAINT patterns_parameters_object CHECK (jsonb_typeof(parameters) = 'object'),
    CONSTRAINT patterns_defaults_object CHECK (jsonb_typeof(defaults) = 'object')
);
COMMENT ON TABLE patterns IS 'Design templates from which sepulkas are forged.';
COMMENT ON COLUMN patterns.parameters IS 'What a design may set: name, type and bounds of each.';
COMMENT ON COLUMN patterns.defaults IS 'Values of the parameters that a design does not set.';

CREATE TABLE alloys (
    id             UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    name           TEXT NOT NULL,
    description    TEXT NOT NULL DEFAULT '',
    type           alloy_type NOT NULL,
    version        TEXT NOT NULL DEFAULT '1.0.0',
    specifications JSONB NOT NULL DEFAULT '{}',
    mesh_assets    TEXT[] NOT NULL DEFAULT '{}',
    urdf_template  TEXT,
    compatibility  JSONB NOT NULL DEFAULT '{}',
    tags           TEXT[] NOT NULL DEFAULT '{}',
    created_at     TIMESTAMPTZ NOT NULL DEFAULT now(),
    updated_at     TIMESTAMPTZ NOT NULL DEFAULT now(),
    CONSTRAINT alloys_name_version_key UNIQUE (name, version),
    CONSTRAINT alloys_specifications_object CHECK (jsonb_typeof(specifications) = 'object'),
    CONSTRAINT alloys_compatibility_object CHECK (jsonb_typeof(compatibility) = 'object')
);
COMMENT ON TABLE alloys IS 'Components a robot is made of; each version is a row of its own.';
COMMENT ON COLUMN alloys.mesh_assets IS 'Locations of the 3D meshes.';
COMMENT ON COLUMN alloys.urdf_template IS 'Fragment of the robot description (URDF) of this part.';

CREATE TABLE sepulkas (
    id          UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    name        TEXT NOT NULL,
    description TEXT NOT NULL DEFAULT '',
    version     TEXT NOT NULL DEFAULT '1.0.0',
    pattern_id  UUID REFERENCES patterns (id),
    status      sepulka_status NOT NULL DEFAULT 'FORGING',
    parameters  JSONB NOT NULL DEFAULT '{}',
    created_by  UUID NOT NULL REFERENCES smiths (id),
    created_at  TIMESTAMPTZ NOT NULL DEFAULT now(),
    updated_at  TIMESTAMPTZ NOT NULL DEFAULT now(),
    CONSTRAINT sepulkas_parameters_object CHECK (jsonb_typeof(parameters) = 'object')
);
COMMENT ON TABLE sepulkas IS 'Robot designs.';
COMMENT ON COLUMN sepulkas.pattern_id IS 'The template it was forged from; NULL: from scratch.';

CREATE TABLE sepulka_alloys (
    sepulka_id UUID NOT NULL REFERENCES sepulkas (id) ON DELETE CASCADE,
    alloy_id   UUID NOT NULL REFERENCES alloys (id),
    quantity   INTEGER NOT NULL DEFAULT 1 CHECK (quantity > 0),
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (sepulka_id, alloy_id)
);
COMMENT ON TABLE sepulka_alloys IS 'The parts list of a design.';

CREATE TABLE ingots (
    id             UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    sepulka_id     UUID NOT NULL REFERENCES sepulkas (id),
    version        TEXT NOT NULL,
    build_hash     TEXT NOT NULL UNIQUE,
    status         ingot_status NOT NULL DEFAULT 'BUILDING',
    artifacts      JSONB NOT NULL DEFAULT '{}',
    build_logs     TEXT[] NOT NULL DEFAULT '{}',
    tempered       BOOLEAN NOT NULL DEFAULT false,
    temper_results JSONB,
    created_by     UUID NOT NULL REFERENCES smiths (id),
    created_at     TIMESTAMPTZ NOT NULL DEFAULT now(),
    updated_at     TIMESTAMPTZ NOT NULL DEFAULT now(),
    CONSTRAINT ingots_artifacts_object CHECK (jsonb_typeof(artifacts) = 'object'),
    CONSTRAINT ingots_temper_results_object CHECK (jsonb_typeof(temper_results) = 'object'),
    CONSTRAINT ingots_tempered_status CHECK (tempered OR status <> 'TEMPERED')
);
COMMENT ON TABLE ingots IS 'Build artefacts of designs: what is deployed to robots.';
COMMENT ON COLUMN ingots.build_hash IS 'Identifies the inputs of the build: equal hash, same ingot.';
COMMENT ON COLUMN ingots.artifacts IS 'Location of each artefact by its kind.';
COMMENT ON COLUMN ingots.tempered IS 'Passed its trial in simulation; results in temper_results.';

-- ---------------------------------------------------------------------------------------------
-- Places and work
-- ---------------------------------------------------------------------------------------------

CREATE TABLE loci (
    id           UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    name         TEXT NOT NULL UNIQUE,
    description  TEXT NOT NULL DEFAULT '',
    coordinates  JSONB NOT NULL DEFAULT '{}',
    safety_zones JSONB NOT NULL DEFAULT '{}',
    created_at   TIMESTAMPTZ NOT NULL DEFAULT now(),
    updated_at   TIMESTAMPTZ NOT NULL DEFAULT now(),
    CONSTRAINT loci_coordinates_object CHECK (jsonb_typeof(coordinates) = 'object'),
    CONSTRAINT loci_safety_zones_object CHECK (jsonb_typeof(safety_zones) = 'object')
);
COMMENT ON TABLE loci IS 'Places where fleets work.';
COMMENT ON COLUMN loci.coordinates IS 'Position on Earth: latitude, longitude, altitude.';
COMMENT ON COLUMN loci.safety_zones IS 'Areas with rules of their own, by name.';

CREATE TABLE factory_floors (
    id            UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    name          TEXT NOT NULL,
    description   TEXT NOT NULL DEFAULT '',
    blueprint_url TEXT,
    width_metres  NUMERIC(10, 3) NOT NULL CHECK (width_metres > 0),
    length_metres NUMERIC(10, 3) NOT NULL CHECK (length_metres > 0),
    height_metres NUMERIC(10, 3) CHECK (height_metres > 0),
    scale         NUMERIC(12, 6) NOT NULL DEFAULT 1 CHECK (scale > 0),
    created_by    UUID NOT NULL REFERENCES smiths (id),
    created_at    TIMESTAMPTZ NOT NULL DEFAULT now(),
    updated_at    TIMESTAMPTZ NOT NULL DEFAULT now()
);
COMMENT ON TABLE factory_floors IS 'Floor plans on which robots are placed.';
COMMENT ON COLUMN factory_floors.scale IS 'Blueprint pixels per metre.';

CREATE TABLE tasks (
    id           UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    description  TEXT NOT NULL DEFAULT '',
    type         task_type NOT NULL,
    status       task_status NOT NULL DEFAULT 'PENDING',
    priority     task_priority NOT NULL DEFAULT 'NORMAL',
    parameters   JSONB NOT NULL DEFAULT '{}',
    scheduled_at TIMESTAMPTZ,
    created_by   UUID NOT NULL REFERENCES smiths (id),
    created_at   TIMESTAMPTZ NOT NULL DEFAULT now(),
    updated_at   TIMESTAMPTZ NOT NULL DEFAULT now(),
    CONSTRAINT tasks_parameters_object CHECK (jsonb_typeof(parameters) = 'object')
);
COMMENT ON TABLE tasks IS 'Work to be done by robots.';
COMMENT ON COLUMN tasks.scheduled_at IS 'Not before this time; NULL: as soon as a robot is free.';

-- tasks comes first: a fleet points at the task it works on, a task at no fleet. Its robots are in
-- task_robots.
CREATE TABLE fleets (
    id             UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    name           TEXT NOT NULL,
    description    TEXT NOT NULL DEFAULT '',
    locus_id       UUID REFERENCES loci (id),
    status         fleet_status NOT NULL DEFAULT 'IDLE',
    active_task_id UUID REFERENCES tasks (id) ON DELETE SET NULL,
    created_at     TIMESTAMPTZ NOT NULL DEFAULT now(),
    updated_at     TIMESTAMPTZ NOT NULL DEFAULT now()
);
COMMENT ON TABLE fleets IS 'Groups of robots that work together at one place.';

-- ---------------------------------------------------------------------------------------------
-- Robots and what they do
-- ---------------------------------------------------------------------------------------------

CREATE TABLE robots (
    id                    UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    name                  TEXT NOT NULL,
    sepulka_id            UUID NOT NULL REFERENCES sepulkas (id),
    fleet_id              UUID REFERENCES fleets (id) ON DELETE SET NULL,
    current_ingot_id      UUID REFERENCES ingots (id),
    status                robot_status NOT NULL DEFAULT 'OFFLINE',
    last_seen             TIMESTAMPTZ,
    last_pose             JSONB,
    battery_level         NUMERIC(5, 2) CHECK (battery_level BETWEEN 0 AND 100),
    health_score          NUMERIC(5, 2) CHECK (health_score BETWEEN 0 AND 100),
    factory_floor_id      UUID REFERENCES factory_floors (id),
    floor_x_metres        NUMERIC(10, 3),
    floor_y_metres        NUMERIC(10, 3),
    floor_heading_degrees NUMERIC(6, 3) CHECK (floor_heading_degrees >= 0 AND floor_heading_degrees < 360),
    created_at            TIMESTAMPTZ NOT NULL DEFAULT now(),
    updated_at            TIMESTAMPTZ NOT NULL DEFAULT now(),
    CONSTRAINT robots_last_pose_object CHECK (jsonb_typeof(last_pose) = 'object'),
    CONSTRAINT robots_floor_position CHECK (
        num_nulls(factory_floor_id, floor_x_metres, floor_y_metres) IN (0, 3)
    )
);
COMMENT ON TABLE robots IS 'Machines built from a design.';
COMMENT ON COLUMN robots.current_ingot_id IS 'What runs on it; NULL: nothing deployed yet.';
COMMENT ON COLUMN robots.last_pose IS 'Joint positions and orientation it last reported.';
COMMENT ON COLUMN robots.battery_level IS 'Per cent.';
COMMENT ON COLUMN robots.health_score IS 'Per cent; 100 is as new.';
COMMENT ON COLUMN robots.floor_x_metres IS 'From the floor plan''s origin; set together with the floor.';

CREATE TABLE task_robots (
    task_id     UUID NOT NULL REFERENCES tasks (id) ON DELETE CASCADE,
    robot_id    UUID NOT NULL REFERENCES robots (id) ON DELETE CASCADE,
    assigned_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (task_id, robot_id)
);
COMMENT ON TABLE task_robots IS 'Which robots a task is assigned to.';

CREATE TABLE runs (
    id            UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    task_id       UUID NOT NULL REFERENCES tasks (id),
    robot_id      UUID NOT NULL REFERENCES robots (id),
    status        run_status NOT NULL DEFAULT 'PENDING',
    started_at    TIMESTAMPTZ,
    completed_at  TIMESTAMPTZ,
    result        JSONB,
    error_message TEXT,
    created_at    TIMESTAMPTZ NOT NULL DEFAULT now(),
    updated_at    TIMESTAMPTZ NOT NULL DEFAULT now(),
    CONSTRAINT runs_result_object CHECK (jsonb_typeof(result) = 'object'),
    CONSTRAINT runs_completed_after_start CHECK (completed_at >= started_at)
);
COMMENT ON TABLE runs IS 'Executions of a task by a robot; a retry is a run of its own.';

-- ---------------------------------------------------------------------------------------------
-- Rules and records
-- ---------------------------------------------------------------------------------------------

CREATE TABLE edicts (
    id          UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    name        TEXT NOT NULL,
    description TEXT NOT NULL DEFAULT '',
    type        edict_type NOT NULL,
    rules       JSONB NOT NULL DEFAULT '{}',
    severity    edict_severity NOT NULL DEFAULT 'WARNING',
    active      BOOLEAN NOT NULL DEFAULT true,
    applies_to  JSONB NOT NULL DEFAULT '{}',
    created_at  TIMESTAMPTZ NOT NULL DEFAULT now(),
    updated_at  TIMESTAMPTZ NOT NULL DEFAULT now(),
    CONSTRAINT edicts_rules_object CHECK (jsonb_typeof(rules) = 'object'),
    CONSTRAINT edicts_applies_to_object CHECK (jsonb_typeof(applies_to) = 'object')
);
COMMENT ON TABLE edicts IS 'Policies that robots, fleets and tasks must follow.';
COMMENT ON COLUMN edicts.applies_to IS 'Which entities it governs; the empty object: all.';

CREATE TABLE policy_violations (
    id          UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    edict_id    UUID NOT NULL REFERENCES edicts (id),
    entity_type TEXT NOT NULL,
    entity_id   UUID NOT NULL,
    details     JSONB NOT NULL DEFAULT '{}',
    detected_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    resolved_at TIMESTAMPTZ,
    resolved_by UUID REFERENCES smiths (id),
    created_at  TIMESTAMPTZ NOT NULL DEFAULT now(),
    updated_at  TIMESTAMPTZ NOT NULL DEFAULT now(),
    CONSTRAINT policy_violations_details_object CHECK (jsonb_typeof(details) = 'object'),
    CONSTRAINT policy_violations_resolution CHECK (resolved_by IS NULL OR resolved_at IS NOT NULL)
);
COMMENT ON TABLE policy_violations IS 'Breaches of edicts; open while resolved_at is NULL.';
COMMENT ON COLUMN policy_violations.entity_type IS 'Table of the entity that broke the edict.';

CREATE TABLE audit_stamps (
    id          UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    entity_type TEXT NOT NULL,
    entity_id   UUID NOT NULL,
    action      TEXT NOT NULL,
    actor       UUID REFERENCES smiths (id),
    changes     JSONB NOT NULL DEFAULT '{}',
    timestamp   TIMESTAMPTZ NOT NULL DEFAULT now(),
    ip_address  INET,
    user_agent  TEXT,
    CONSTRAINT audit_stamps_changes_object CHECK (jsonb_typeof(changes) = 'object')
);
COMMENT ON TABLE audit_stamps IS
    'Who changed what, and when; only administrators can change it. Row-level security: see the policies.';
COMMENT ON COLUMN audit_stamps.entity_id IS 'Not a foreign key: the stamp outlives what it is about.';
COMMENT ON COLUMN audit_stamps.actor IS 'NULL: the platform itself.';

-- ---------------------------------------------------------------------------------------------
-- Basic indexes
-- ---------------------------------------------------------------------------------------------

CREATE INDEX sepulkas_pattern_id_idx ON sepulkas (pattern_id);
CREATE INDEX sepulka_alloys_alloy_id_idx ON sepulka_alloys (alloy_id);
CREATE INDEX ingots_created_by_idx ON ingots (created_by);
CREATE INDEX factory_floors_created_by_idx ON factory_floors (created_by);
CREATE INDEX fleets_locus_id_idx ON fleets (locus_id);
CREATE INDEX fleets_active_task_id_idx ON fleets (active_task_id);
CREATE INDEX robots_sepulka_id_idx ON robots (sepulka_id);
CREATE INDEX robots_current_ingot_id_idx ON robots (current_ingot_id);
CREATE INDEX task_robots_robot_id_idx ON task_robots (robot_id);
CREATE INDEX policy_violations_resolved_by_idx ON policy_violations (resolved_by);

-- ---------------------------------------------------------------------------------------------
-- updated_at
-- ---------------------------------------------------------------------------------------------

CREATE FUNCTION set_updated_at() RETURNS trigger
    LANGUAGE plpgsql
AS $$
BEGIN
    NEW.updated_at := pg_catalog.now();
    RETURN NEW;
END;
$$;
COMMENT ON FUNCTION set_updated_at() IS 'Trigger: stamps a changed row with the transaction''s time.';

-- An UPDATE that changes nothing is not a change and keeps the old time.
CREATE TRIGGER smiths_set_updated_at BEFORE UPDATE ON smiths
    FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION set_updated_at();
CREATE TRIGGER patterns_set_updated_at BEFORE UPDATE ON patterns
    FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION set_updated_at();
CREATE TRIGGER alloys_set_updated_at BEFORE UPDATE ON alloys
    FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION set_updated_at();
CREATE TRIGGER sepulkas_set_updated_at BEFORE UPDATE ON sepulkas
    FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION set_updated_at();
CREATE TRIGGER ingots_set_updated_at BEFORE UPDATE ON ingots
    FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION set_updated_at();
CREATE TRIGGER loci_set_updated_at BEFORE UPDATE ON loci
    FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION set_updated_at();
CREATE TRIGGER factory_floors_set_updated_at BEFORE UPDATE ON factory_floors
    FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION set_updated_at();
CREATE TRIGGER tasks_set_updated_at BEFORE UPDATE ON tasks
    FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION set_updated_at();
CREATE TRIGGER fleets_set_updated_at BEFORE UPDATE ON fleets
    FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION set_updated_at();
CREATE TRIGGER robots_set_updated_at BEFORE UPDATE ON robots
    FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION set_updated_at();
CREATE TRIGGER runs_set_updated_at BEFORE UPDATE ON runs
    FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION set_updated_at();
CREATE TRIGGER edicts_set_updated_at BEFORE UPDATE ON edicts
    FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION set_updated_at();
CREATE TRIGGER policy_violations_set_updated_at BEFORE UPDATE ON policy_violations
    FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION set_updated_at();

-- ---------------------------------------------------------------------------------------------
-- Row-level security on smiths and audit_stamps
-- ---------------------------------------------------------------------------------------------
-- It guards applications against their own mistakes (a forgotten WHERE, an id taken from the request),
-- not against somebody who holds a database login and can say whatever id they like. The application
-- says who is asking, in the transaction it is asking in:
--
--     SELECT set_config('app.current_user_id', $1, true);   -- true: until the transaction ends
--
-- Never with SET for the whole session: behind a pooler the next client would inherit it. Once such
-- a transaction has ended the setting reads as the empty string, hence NULLIF below.
--
-- Logging in comes before the id is known. For that the application names the one row it wants:
--
--     SELECT set_config('app.login_email', $1, true);
--     SELECT id, password_hash, is_active FROM smiths WHERE email = lower($1);
--
-- A policy and not a SECURITY DEFINER function, so that nobody can read by it who has no SELECT on smiths.
--
-- Administrators see and change everything: the database role sepulki_admin (and its members), and
-- smiths with the role ADMIN. The owner of the tables is not subject to the policies (no FORCE): it
-- runs migrations, the seed rows below included, and dumps; no application connects as it.

CREATE FUNCTION current_smith_id() RETURNS uuid
    LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT NULLIF(pg_catalog.current_setting('app.current_user_id', true), '')::pg_catalog.uuid
$$;
COMMENT ON FUNCTION current_smith_id() IS
    'The smith named by app.current_user_id in this transaction; NULL where nobody is named.';

-- Asks by name, because the role may be made after this migration, or never.
CREATE FUNCTION current_role_is_admin() RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT EXISTS (
        SELECT FROM pg_catalog.pg_roles
        WHERE rolname = 'sepulki_admin' AND pg_catalog.pg_has_role(oid, 'USAGE')
    )
$$;
COMMENT ON FUNCTION current_role_is_admin() IS 'Whether the database role has the rights of sepulki_admin.';

-- SECURITY DEFINER, because a policy on smiths that reads smiths would call itself for ever. It
-- tells nothing but a yes or no about the smith whom the session already claims to be.
CREATE FUNCTION current_smith_is_admin() RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT EXISTS (
        SELECT FROM public.smiths
        WHERE id = public.current_smith_id() AND is_active AND role = 'ADMIN'
    )
$$;
COMMENT ON FUNCTION current_smith_is_admin() IS 'Whether app.current_user_id names an active administrator.';

ALTER TABLE smiths ENABLE ROW LEVEL SECURITY;

CREATE POLICY smiths_admin ON smiths
    USING ((SELECT current_role_is_admin()) OR (SELECT current_smith_is_admin()));
CREATE POLICY smiths_read_self ON smiths FOR SELECT
    USING (id = (SELECT current_smith_id()));
CREATE POLICY smiths_read_for_login ON smiths FOR SELECT
    USING (email = (SELECT lower(NULLIF(current_setting('app.login_email', true), ''))));
-- Signing up: the application makes the id, names it as the current user and inserts a plain smith.
CREATE POLICY smiths_sign_up ON smiths FOR INSERT
    WITH CHECK (id = (SELECT current_smith_id()) AND role = 'SMITH' AND permissions = '{}');
CREATE POLICY smiths_update_self ON smiths FOR UPDATE
    USING (id = (SELECT current_smith_id()))
    WITH CHECK (id = (SELECT current_smith_id()));

-- A policy sees either the old row or the new one, never both, so it cannot tell a new name from a new role.
CREATE FUNCTION smiths_guard_rights() RETURNS trigger
    LANGUAGE plpgsql
AS $$
BEGIN
    IF pg_catalog.row_security_active(TG_RELID)
        AND NOT (public.current_role_is_admin() OR public.current_smith_is_admin())
    THEN
        RAISE EXCEPTION 'only an administrator may change role, permissions or is_active of a smith'
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END;
$$;
COMMENT ON FUNCTION smiths_guard_rights() IS 'Trigger: nobody gives rights to themselves.';

CREATE TRIGGER smiths_guard_rights BEFORE UPDATE ON smiths
    FOR EACH ROW
    WHEN (
        (OLD.role, OLD.permissions, OLD.is_active)
        IS DISTINCT FROM (NEW.role, NEW.permissions, NEW.is_active)
    )
    EXECUTE FUNCTION smiths_guard_rights();

ALTER TABLE audit_stamps ENABLE ROW LEVEL SECURITY;

CREATE POLICY audit_stamps_admin ON audit_stamps
    USING ((SELECT current_role_is_admin()) OR (SELECT current_smith_is_admin()));
CREATE POLICY audit_stamps_read_own ON audit_stamps FOR SELECT
    USING (actor = (SELECT current_smith_id()));
-- In one's own name, or, where nobody is named, in the platform's. There is no policy for UPDATE and
-- DELETE: for everybody but administrators there are no rows to change.
CREATE POLICY audit_stamps_append ON audit_stamps FOR INSERT
    WITH CHECK (actor IS NOT DISTINCT FROM (SELECT current_smith_id()));

-- ---------------------------------------------------------------------------------------------
-- Seed data
-- ---------------------------------------------------------------------------------------------
-- Ids are derived from names, so they are the same in every environment.

-- Has no password and so cannot log in. To let it in, set the hash of a password made for it:
--     UPDATE smiths SET password_hash = '$argon2id$…' WHERE email = 'admin@sepulki.example';
INSERT INTO smiths (id, email, name, role, permissions) VALUES
    (uuid_generate_v5(uuid_ns_url(), 'https://sepulki.dev/smiths/administrator'),
     'admin@sepulki.example', 'Administrator', 'ADMIN', '{*}');

INSERT INTO patterns (id, name, description, category, parameters, defaults, template, tags) VALUES
    (uuid_generate_v5(uuid_ns_url(), 'https://sepulki.dev/patterns/six-axis-arm'),
     'Six-axis arm', 'Serial manipulator for assembly and pick-and-place cells.', 'INDUSTRIAL_ARM',
     '{"reach_metres": {"type": "number", "minimum": 0.5, "maximum": 3.5},
       "payload_kg": {"type": "number", "minimum": 1, "maximum": 300}}',
     '{"reach_metres": 1.3, "payload_kg": 10}',
     'patterns/six-axis-arm.urdf.tmpl', '{arm,assembly,pick-and-place}'),
    (uuid_generate_v5(uuid_ns_url(), 'https://sepulki.dev/patterns/warehouse-carrier'),
     'Warehouse carrier', 'Differential-drive platform that moves shelves and totes.', 'MOBILE_ROBOT',
     '{"payload_kg": {"type": "number", "minimum": 20, "maximum": 1500},
       "max_speed_mps": {"type": "number", "minimum": 0.2, "maximum": 2.5}}',
     '{"payload_kg": 200, "max_speed_mps": 1.5}',
     'patterns/warehouse-carrier.urdf.tmpl', '{mobile,transport,warehouse}'),
    (uuid_generate_v5(uuid_ns_url(), 'https://sepulki.dev/patterns/inspection-quadruped'),
     'Inspection quadruped', 'Four-legged walker for patrols over stairs and rough ground.', 'QUADRUPED',
     '{"leg_length_metres": {"type": "number", "minimum": 0.2, "maximum": 0.8}}',
     '{"leg_length_metres": 0.35}',
     'patterns/inspection-quadruped.urdf.tmpl', '{legged,inspection,patrol}');

INSERT INTO alloys (id, name, description, type, version, specifications, mesh_assets, compatibility, tags) VALUES
    (uuid_generate_v5(uuid_ns_url(), 'https://sepulki.dev/alloys/harmonic-servo-80/1.0.0'),
     'Harmonic servo 80', 'Joint actuator with strain-wave gearing.', 'ACTUATOR', '1.0.0',
     '{"peak_torque_nm": 140, "max_speed_rpm": 35, "mass_kg": 3.1}', '{meshes/harmonic-servo-80.stl}',
     '{"bus": ["EtherCAT"]}', '{joint,servo}'),
    (uuid_generate_v5(uuid_ns_url(), 'https://sepulki.dev/alloys/planar-lidar-25/1.0.0'),
     'Planar lidar 25', 'Safety-rated laser scanner for navigation.', 'SENSOR', '1.0.0',
     '{"range_metres": 25, "field_of_view_degrees": 270}', '{meshes/planar-lidar-25.stl}',
     '{"bus": ["Ethernet"]}', '{lidar,navigation,safety}'),
    (uuid_generate_v5(uuid_ns_url(), 'https://sepulki.dev/alloys/motion-controller-8/1.0.0'),
     'Motion controller 8', 'Real-time controller for up to eight axes.', 'CONTROLLER', '1.0.0',
     '{"axes": 8, "cycle_time_us": 250}', '{}',
     '{"bus": ["EtherCAT", "Ethernet"]}', '{real-time}'),
    (uuid_generate_v5(uuid_ns_url(), 'https://sepulki.dev/alloys/parallel-gripper-85/1.0.0'),
     'Parallel gripper 85', 'Two-finger electric gripper.', 'END_EFFECTOR', '1.0.0',
     '{"stroke_mm": 85, "grip_force_n": 235}', '{meshes/parallel-gripper-85.stl}',
     '{"flange": ["ISO 9409-1-50-4-M6"]}', '{gripper}'),
    (uuid_generate_v5(uuid_ns_url(), 'https://sepulki.dev/alloys/carrier-chassis-m/1.0.0'),
     'Carrier chassis M', 'Welded frame with two driven wheels and four castors.', 'CHASSIS', '1.0.0',
     '{"length_mm": 980, "width_mm": 700, "payload_kg": 300}', '{meshes/carrier-chassis-m.stl}',
     '{}', '{mobile}'),
    (uuid_generate_v5(uuid_ns_url(), 'https://sepulki.dev/alloys/battery-pack-48-30/1.0.0'),
     'Battery pack 48/30', 'Lithium iron phosphate pack with contact charging.', 'POWER', '1.0.0',
     '{"voltage_v": 48, "capacity_ah": 30}', '{meshes/battery-pack-48-30.stl}',
     '{}', '{battery,mobile}'),
    (uuid_generate_v5(uuid_ns_url(), 'https://sepulki.dev/alloys/dual-band-radio/1.0.0'),
     'Dual-band radio', 'Wi-Fi 6 client with fast roaming.', 'COMMUNICATION', '1.0.0',
     '{"bands_ghz": [2.4, 5]}', '{}',
     '{"bus": ["Ethernet"]}', '{wireless}');

COMMIT;
