//! The way into a database: as its owner, at the direct endpoint, with the password that Neon has now.

use secrecy::{ExposeSecret, SecretString};

use super::super::Migrations;
use super::super::desired::{Desired, Rest};
use super::super::observe::Observed;
use super::super::place::{Database, Endpoint, Place};
use crate::api::Reason;
use crate::cluster::{Freshness, KeyRead};
use crate::engine::LedgerName;
use crate::engine::run::RunError;
use crate::neon::{self, BranchId, EndpointId, ErrorKind};
use crate::postgres::{Target, Tls};
use crate::reconcile::{Class, Error};
use crate::world::{Source, at_cluster, at_neon};

/// Longest name under which a run shows itself in `pg_stat_activity`, in bytes.
const HOLDER_MAX: usize = 48;

/// Everything that a session needs.
pub(super) struct Access<'a> {
    pub(super) database: &'a Database,
    pub(super) endpoint: &'a Endpoint,
    pub(super) place: Place,
    pub(super) ledger: &'a LedgerName,
    pub(super) target: Target,
}

/// Credentials of the database's owner at the direct endpoint. The password is asked of Neon each time: sessions are
/// rare, and one that was kept could have been changed.
pub(super) async fn access<'a>(
    kind: &Migrations,
    desired: &'a Desired,
    observed: &'a Observed,
) -> Result<Access<'a>, Error> {
    let unready = || {
        Error::new(
            Class::Conflict,
            Reason::DatabaseNotReady,
            format!("NeonDatabase {} is no longer ready", desired.database_ref),
        )
    };
    let database = observed.database.known().ok_or_else(unready)?;
    let place = observed.place(desired).ok_or_else(unready)?;
    let owner = database.owners.get(&place.database).ok_or_else(unready)?;
    let endpoint = database.endpoint.as_ref().ok_or_else(unready)?;
    let rest = parsed(desired)?;
    let of = (
        &BranchId::from(place.branch.id.as_str()),
        &EndpointId::from(endpoint.id.as_str()),
    );
    let password = password(kind, database, of, owner).await?;
    let settings = &kind.world.settings;
    let authority = settings.certificate_authority.as_ref();
    let target = Target {
        host: endpoint.host.clone(),
        port: settings.postgres_port,
        user: owner.clone(),
        password,
        database: place.database.clone(),
        tls: authority.map_or(Tls::WebPki, |authority| Tls::Ca(authority.pem.clone())),
    };
    Ok(Access {
        database,
        endpoint,
        place,
        ledger: &rest.ledger,
        target,
    })
}

pub(super) fn parsed(desired: &Desired) -> Result<&Rest, Error> {
    let rest = desired.rest.as_ref();
    rest.map_err(|block| Error::new(Class::Invalid, block.reason, &block.message))
}

/// The owner's password on this branch, as Neon has it now, where the compute serves that branch. A refused key is read anew
/// once: it may just have been corrected.
pub(super) async fn password(
    kind: &Migrations,
    database: &Database,
    (branch, endpoint): (&BranchId, &EndpointId),
    owner: &str,
) -> Result<SecretString, Error> {
    let Some(Source {
        project, key: at, ..
    }) = &database.source
    else {
        let message = format!(
            "the NeonProject of NeonDatabase {} is not there",
            database.name
        );
        return Err(Error::new(
            Class::Transient,
            Reason::ProjectNotReady,
            message,
        ));
    };
    for freshness in [Freshness::Recent, Freshness::Refused] {
        let read = kind.world.cluster.api_key(at, freshness).await;
        let missing = |what: &str| {
            let message = format!(
                "Secret {} of the namespace {} {what}",
                at.name, at.namespace
            );
            Error::new(Class::Transient, Reason::KeyNotFound, message)
        };
        let key = match read.map_err(at_cluster)? {
            KeyRead::Found(key) => key,
            KeyRead::NoSecret => return Err(missing("with the Neon API key does not exist")),
            KeyRead::NoKey => return Err(missing(&format!("has no entry {}", at.key))),
        };
        let account = kind.world.neon.open(&key);
        let found = match account.api.endpoint(project, endpoint).await {
            Err(error) if error.kind == ErrorKind::Denied && freshness == Freshness::Recent => {
                continue;
            }
            answer => answer.map_err(at_neon)?,
        };
        serves(found.as_ref(), branch, endpoint, &database.name)?;
        let password = account.api.reveal_password(project, branch, owner).await;
        return password.map_err(at_neon);
    }
    Err(Error::bug("neither of two answers of Neon was taken"))
}

/// Fails where a compute serves another branch than is meant. Its host stays when Neon moves it, as it does to put a
/// restored snapshot in the place of a branch: whoever connects reaches other data then.
fn serves(
    found: Option<&neon::Endpoint>,
    meant: &BranchId,
    id: &EndpointId,
    name: &str,
) -> Result<(), Error> {
    let message = match found {
        Some(found) if found.branch_id == *meant => return Ok(()),
        Some(found) => format!(
            "the compute {id} of NeonDatabase {name} serves the branch {} by now, and not {meant}",
            found.branch_id
        ),
        None => format!("the compute {id} of NeonDatabase {name} is gone"),
    };
    Err(Error::new(
        Class::Conflict,
        Reason::DatabaseNotReady,
        message,
    ))
}

/// Whether a refused password is the one that Neon has now: then it was not just rotated, and trying again is no use.
pub(super) async fn is_current(kind: &Migrations, access: &Access<'_>, error: &RunError) -> bool {
    let of = (
        &BranchId::from(access.place.branch.id.as_str()),
        &EndpointId::from(access.endpoint.id.as_str()),
    );
    matches!(error, RunError::Denied(_)) && opens(kind, access.database, of, &access.target).await
}

/// Whether the password of a target is the one that Neon has now for this branch, at this compute.
pub(super) async fn opens(
    kind: &Migrations,
    database: &Database,
    of: (&BranchId, &EndpointId),
    target: &Target,
) -> bool {
    let now = password(kind, database, of, &target.user).await;
    now.is_ok_and(|now| now.expose_secret() == target.password.expose_secret())
}

/// The name under which a session shows itself.
pub(super) fn holder(desired: &Desired) -> String {
    let mut name = format!("{}/{}", desired.namespace, desired.name);
    // names of Kubernetes objects are ASCII
    name.truncate(HOLDER_MAX);
    name
}
