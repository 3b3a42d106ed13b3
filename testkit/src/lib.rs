//! Real parts for tests and the demo: a Kubernetes control plane, PostgreSQL, and the whole local
//! environment of the operator.
//!
//! | module | gives |
//! |---|---|
//! | [`assets`] | the programs of the control plane: finds them, builds them |
//! | [`control_plane`] | etcd, kube-apiserver and kube-controller-manager, one set per test binary |
//! | [`cluster`] | what one does in it as administrator: namespaces, credentials, manifests |
//! | [`audit`] | who wrote what to the API server, and who read Secrets |
//! | [`kubeconfig`], [`manifests`] | reading and writing both |
//! | [`environment`] | all of it and the operator, left running: `make up` and `make down` |
//! | [`demo`] | the operator's story on it: `make demo` |
//! | [`operator`] | the operator on all of these, each test in a namespace and a Neon project of its own |
//! | [`postgres`] | a throw-away PostgreSQL server and a fresh database per test |
//!
//! Nothing is downloaded at run time, but for PostgreSQL's newest version where that one is not installed: what is missing
//! is an error that names the ways to get it.
//! What is started for a test dies with the process that started it, however that one ends.

pub mod assets;
pub mod audit;
pub mod cluster;
pub mod control_plane;
pub mod demo;
pub mod environment;
mod install;
pub mod kubeconfig;
pub mod manifests;
pub mod operator;
mod pki;
pub mod postgres;
mod private_file;
mod process;
pub mod progress;
mod scratch;

pub use assets::Assets;
pub use cluster::Cluster;
pub use control_plane::ControlPlane;
pub use postgres::Postgres;
