-- Sepulki platform: telemetry of robots.
--
-- No BEGIN and COMMIT of its own: whoever runs this file puts it into a transaction
-- (psql --single-transaction does).

CREATE TABLE telemetry_data (
    id         UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    robot_id   UUID NOT NULL REFERENCES robots (id) ON DELETE CASCADE,
    timestamp  TIMESTAMPTZ NOT NULL,
    metrics    JSONB NOT NULL DEFAULT '{}',
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    CONSTRAINT telemetry_data_metrics_object CHECK (jsonb_typeof(metrics) = 'object')
);
COMMENT ON TABLE telemetry_data IS 'Measurements that robots report; rows are written once.';
COMMENT ON COLUMN telemetry_data.timestamp IS 'When the robot measured; created_at is when it arrived.';
COMMENT ON COLUMN telemetry_data.metrics IS 'Value of each metric by its name.';

-- The latest values of a robot, and its values over a period.
CREATE INDEX telemetry_data_robot_id_timestamp_idx ON telemetry_data (robot_id, timestamp DESC);
