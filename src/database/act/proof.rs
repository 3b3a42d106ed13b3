//! Credentials are tried before they are published, wherever the Secret leads to. Opens sessions and changes nothing.

use secrecy::{ExposeSecret, SecretString};

use super::Context;
use crate::api::Reason;
use crate::database::credentials::{Form, pooled_host, replica_key};
use crate::postgres::{self, Target};
use crate::reconcile::{Class, Error};
use crate::world::at_postgres;

/// Whether the login gets into its database with this password. One that has lost its membership in the role is known to the
/// server and does not get in either.
pub(super) async fn opens(
    context: &Context<'_>,
    form: &Form,
    password: &SecretString,
) -> Result<bool, Error> {
    let target = context.target(form, &form.host, password);
    match context.kind.world.contents.accepts(&target).await {
        Err(error) if error.class == postgres::Class::Denied => Ok(false),
        opened => opened.map_err(at_postgres),
    }
}

/// What is published works at the moment it is published, direct and pooled.
pub(super) async fn prove(
    context: &Context<'_>,
    form: &Form,
    password: &SecretString,
) -> Result<(), Error> {
    for host in [form.host.clone(), pooled_host(&form.host)] {
        let target = context.target(form, &host, password);
        let contents = &context.kind.world.contents;
        if !contents.accepts(&target).await.map_err(at_postgres)? {
            return Err(not_yet(form, &host));
        }
    }
    Ok(())
}

/// What may be published: without the read replicas that do not take the credentials, which keep nothing else back. Says what
/// is wrong with the last of them.
pub(super) async fn without_silent_replicas(
    context: &Context<'_>,
    form: &Form,
    password: &SecretString,
) -> (Form, Option<Error>) {
    let (mut proven, mut wrong) = (form.clone(), None);
    for (name, host) in &form.replicas {
        let target = context.target(form, &pooled_host(host), password);
        let contents = &context.kind.world.contents;
        let error = match contents.accepts(&target).await {
            Ok(true) => continue,
            Ok(false) => not_yet(form, &target.host),
            Err(error) => at_postgres(error),
        };
        proven.replicas.remove(name);
        let message = format!(
            "the Secret {} is out without {}, for the read replica {name} does not answer as it should: {}",
            form.name,
            replica_key(name),
            error.message
        );
        wrong = Some(Error { message, ..error });
    }
    (proven, wrong)
}

fn not_yet(form: &Form, host: &str) -> Error {
    let message = format!(
        "the new credentials of {} do not work at {host} yet",
        form.login
    );
    Error::new(Class::Transient, Reason::DatabaseUnavailable, message)
}

impl Context<'_> {
    fn target(&self, form: &Form, host: &str, password: &SecretString) -> Target {
        self.kind.world.settings.target(
            host,
            &form.database,
            &form.login,
            password.expose_secret().into(),
        )
    }
}
