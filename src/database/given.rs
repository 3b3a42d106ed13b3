//! Reads passwords that users give for their roles: by name, within the rationing of all reads of Secrets.

use secrecy::{ExposeSecret, SecretString};

use super::Databases;
use super::desired::{Desired, Role};
use super::password::{BITS_WANTED, Problem, bits};
use crate::cluster::{Freshness, KeyRead, KeyRef};
use crate::reconcile::Error;
use crate::world::at_cluster;

/// What was found where a password is to be.
pub(super) enum Given {
    /// None is to be given: passwords are generated.
    Nothing,
    /// This one.
    Password(SecretString),
    /// None that can be used.
    Problem(Problem),
}

impl Databases {
    /// The password that is given for the role; an answer of the last minute will do unless `anew`.
    pub(super) async fn given_password(
        &self,
        desired: &Desired,
        role: &Role,
        anew: bool,
    ) -> Result<Given, Error> {
        let Some(at) = &role.password else {
            return Ok(Given::Nothing);
        };
        let entry = KeyRef {
            namespace: desired.mark.namespace.clone(),
            name: at.name.0.clone(),
            key: at.key.0.clone(),
        };
        let freshness = if anew {
            Freshness::Now
        } else {
            Freshness::Recent
        };
        let read = self.world.cluster.api_key(&entry, freshness).await;
        let rest = desired.rest.as_ref();
        let field = rest.map_or_else(
            |_| "spec.roles".to_owned(),
            |rest| rest.role_field(&role.name),
        );
        let field = format!("{field}.passwordSecretRef");
        let (name, key) = (&at.name, &at.key);
        let soon = "once it is there it is noticed within a minute";
        Ok(match read.map_err(at_cluster)? {
            KeyRead::Found(password) => {
                let bits = bits(password.expose_secret());
                if bits < BITS_WANTED {
                    let bits = bits.floor();
                    Given::Problem(Problem::Weak(format!(
                        "{field}: the password in the Secret {name}, entry {key}, takes about {bits} bits to guess, and \
                         Neon wants {BITS_WANTED}: use more characters, or more kinds of them"
                    )))
                } else {
                    Given::Password(password)
                }
            }
            KeyRead::NoSecret => Given::Problem(Problem::Missing(format!(
                "{field}: the Secret {name} does not exist in this namespace; its entry {key} is to hold the password; {soon}"
            ))),
            KeyRead::NoKey => Given::Problem(Problem::Missing(format!(
                "{field}: the Secret {name} has no entry {key} with the password; {soon}"
            ))),
        })
    }
}
