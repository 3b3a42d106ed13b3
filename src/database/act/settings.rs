//! Settings that a server would not start with: the one that runs is asked before Neon is, which takes any of them, restarts
//! the compute, and has none that runs then.

use super::{Context, Pass};
use crate::api::Reason;
use crate::database::refusals::Refused;
use crate::database::start;
use crate::neon::{Endpoint, UpdateEndpoint};
use crate::postgres;
use crate::reconcile::{Class, Error};
use crate::world::at_postgres;

impl Context<'_> {
    /// Whether nothing speaks against changing the settings as far as anybody can tell. What the server refuses is
    /// remembered, told and left out, so that the rest of the spec goes on without it.
    ///
    /// Where no session is possible there is no server that could stop running: a compute that does not start has to be
    /// given other settings.
    pub(super) async fn may_change_settings(
        &self,
        pass: &Pass,
        update: &UpdateEndpoint,
        endpoint: &Endpoint,
    ) -> Result<bool, Error> {
        let (rest, status) = (self.rest()?, &pass.status);
        let changed = start::changed(rest, update, endpoint);
        let is_there = |name: &str| status.databases.iter().any(|known| known.name == name);
        let mut databases = rest.databases.iter().map(|database| database.name.as_str());
        let database = databases.find(|name| is_there(name));
        let Some(database) = database.filter(|_| !changed.is_empty()) else {
            return Ok(true);
        };
        if start::failure(rest, status).is_some() {
            return Ok(true);
        }
        let at = self.session(database).await?;
        let contents = &self.kind.world.contents;
        match contents.refused_settings(&at, &changed).await {
            Ok(refused) => {
                for (name, why) in &refused {
                    let value = changed.get(name).map_or("", String::as_str);
                    self.refuse_setting(name, value, why);
                }
                Ok(refused.is_empty())
            }
            Err(error) => match error.class {
                postgres::Class::Transient
                | postgres::Class::Invalid
                | postgres::Class::Unsupported => {
                    tracing::info!(%error, "settings are changed without a look at the server");
                    Ok(true)
                }
                // it runs, and may be asked a moment later
                postgres::Class::Conflict | postgres::Class::Denied | postgres::Class::Limit => {
                    Err(at_postgres(error))
                }
            },
        }
    }

    fn refuse_setting(&self, name: &str, value: &str, why: &str) {
        let message =
            format!("spec.compute.settings.{name}: {why}; the compute goes on with what it had");
        let error = Error::new(Class::Invalid, Reason::DatabaseRejected, message);
        let what = Refused::Setting {
            name: name.to_owned(),
            value: value.to_owned(),
        };
        let refusals = &self.kind.refusals;
        let until = self.now + what.good_for();
        refusals.remember(self.desired, what, &error, until, self.now);
    }
}
