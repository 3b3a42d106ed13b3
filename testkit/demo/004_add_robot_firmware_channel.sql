-- Sepulki platform: which firmware a robot gets.

CREATE TYPE firmware_channel AS ENUM ('STABLE', 'CANDIDATE');

ALTER TABLE robots ADD COLUMN firmware_channel firmware_channel NOT NULL DEFAULT 'STABLE';
COMMENT ON COLUMN robots.firmware_channel IS 'Candidates are tried on few robots before all get them.';
