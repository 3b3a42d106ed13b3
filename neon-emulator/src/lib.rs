//! Neon's HTTP API over real PostgreSQL.
