//! Connection Secrets: which are wanted, what they hold, and how one is known to be current. Pure.
//!
//! A Secret says in annotations what it was made for, so that one look tells whether it is ours, whole and for the
//! branch as it is now; the password in it is needed by nobody but the application.
//!
//! An object owns the Secrets that go with it, and no others: whoever deletes it in the foreground, as Argo CD prunes, has
//! the cluster delete what it owns before anybody can say that it is to stay.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use super::desired::{Database, Role, WantedSecret, invalid};
use super::template::{Template, fill};
use crate::api::{Access, ConnectionSecretStatus, NeonDatabaseSpec};
use crate::config::CertificateAuthority;
use crate::reconcile::Block;

/// `type` of every Secret we publish.
pub const SECRET_TYPE: &str = "sepulki.dev/postgres";

const DATABASE: &str = "sepulki.dev/neondatabase";
const BRANCH: &str = "sepulki.dev/branch-id";
const ENDPOINT: &str = "sepulki.dev/endpoint-id";
const FORM: &str = "sepulki.dev/form";
const CONTENT: &str = "sepulki.dev/content";
/// Keys of the entries that a template and read replicas have added, separated by commas.
const ENTRIES_NOTE: &str = "sepulki.dev/template-keys";
/// Secret and entry that a password was given in.
const PASSWORD_FROM: &str = "sepulki.dev/password-from";

/// Everything in a URL's user and password that is not unreserved is escaped.
const URL: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// What a Secret is to say, but for the password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Form {
    /// Namespace of the Secret and of the object.
    pub namespace: String,
    /// Name of the Secret.
    pub name: String,
    /// Name of the object.
    pub object: String,
    /// The object's uid.
    pub uid: String,
    /// Whether the Secret goes with the object, which owns it then.
    pub goes: bool,
    /// The branch.
    pub branch: String,
    /// Its incarnation.
    pub incarnation: String,
    /// The endpoint.
    pub endpoint: String,
    /// Host of the direct connection.
    pub host: String,
    /// Hosts of the direct connections to read replicas, by their names.
    pub replicas: BTreeMap<String, String>,
    /// Port of both connections.
    pub port: u16,
    /// The database.
    pub database: String,
    /// The login.
    pub login: String,
    /// The role it acts as.
    pub role: String,
    /// The Secret and entry that the password comes from; none for a generated one.
    pub password_from: Option<String>,
    /// The authority that signed PostgreSQL's certificates; none for hosted Neon.
    pub authority: Option<CertificateAuthority>,
    /// What the spec adds.
    pub template: Template,
}

/// What was found under a Secret's name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The Secret's uid.
    pub uid: String,
    /// Whether this object published it.
    pub ours: bool,
    /// Whether this very object owns it, so that the cluster deletes it with the object. Other owners are none of our business.
    pub owned: bool,
    /// SHA-256 of the form it was made from.
    pub form: Option<String>,
    /// Whether its data is what was published.
    pub intact: bool,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations, ours among them.
    pub annotations: BTreeMap<String, String>,
}

impl Found {
    /// What a Secret says of itself to the object of this name and uid.
    #[must_use]
    pub fn of(secret: &Secret, object: &str, uid: &str) -> Self {
        let annotations = secret.metadata.annotations.clone().unwrap_or_default();
        let note = |key: &str| annotations.get(key).cloned();
        let more = note(ENTRIES_NOTE).unwrap_or_default();
        Self {
            uid: secret.metadata.uid.clone().unwrap_or_default(),
            ours: note(DATABASE).as_deref() == Some(object),
            owned: secret
                .metadata
                .owner_references
                .as_ref()
                .is_some_and(|owners| owners.iter().any(|owner| owner.uid == uid)),
            form: note(FORM),
            intact: note(CONTENT)
                .is_some_and(|content| content == content_digest(secret.data.as_ref(), &more)),
            labels: secret.metadata.labels.clone().unwrap_or_default(),
            annotations,
        }
    }

    /// The object that published it, by name; none where none of ours did.
    #[must_use]
    pub fn publisher(&self) -> Option<&str> {
        self.annotations.get(DATABASE).map(String::as_str)
    }

    /// Whether the password in it was given by somebody, and not generated.
    #[must_use]
    pub fn has_given_password(&self) -> bool {
        self.annotations.contains_key(PASSWORD_FROM)
    }

    /// Whether it was published for this branch, in whatever life of it.
    #[must_use]
    pub fn is_of_branch(&self, id: &str) -> bool {
        self.annotations.get(BRANCH).is_some_and(|of| of == id)
    }

    /// Whether it goes with its object exactly where it is to.
    #[must_use]
    pub fn is_held_right(&self, form: &Form) -> bool {
        self.owned == form.goes
    }

    /// Whether it is whole and made from this form, whoever owns it.
    #[must_use]
    pub fn is_current(&self, form: &Form) -> bool {
        let has = |found: &BTreeMap<String, String>, asked: &BTreeMap<String, String>| {
            asked
                .iter()
                .all(|(name, value)| found.get(name) == Some(value))
        };
        self.ours
            && self.intact
            && self.form.as_ref() == Some(&form.digest())
            && has(&self.labels, &form.template.labels)
            && has(&self.annotations, &form.template.annotations)
    }
}

impl Form {
    /// SHA-256 of everything the Secret says but the password.
    #[must_use]
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        // whose it is can change without a word in it
        let said = Self {
            goes: false,
            ..self.clone()
        };
        // a version of the keys below: raise it when they change, and every Secret is written anew
        hash.update(format!("1 {said:?}"));
        hex::encode(hash.finalize())
    }

    /// The Secret with this password.
    #[must_use]
    pub fn secret(&self, password: &SecretString) -> Secret {
        let data = self.data(password);
        let replicas = self.replicas.keys().map(|name| replica_key(name));
        let keys: Vec<String> = self.template.data.keys().cloned().chain(replicas).collect();
        let more = keys.join(",");
        let mut notes = self.template.annotations.clone();
        let mut note = |key: &str, value: String| notes.insert(key.to_owned(), value);
        note(DATABASE, self.object.clone());
        note(BRANCH, self.branch.clone());
        note(ENDPOINT, self.endpoint.clone());
        note(FORM, self.digest());
        note(CONTENT, content_digest(Some(&data), &more));
        if !more.is_empty() {
            note(ENTRIES_NOTE, more);
        }
        if let Some(from) = &self.password_from {
            note(PASSWORD_FROM, from.clone());
        }
        let labels = self.template.labels.clone();
        Secret {
            metadata: ObjectMeta {
                namespace: Some(self.namespace.clone()),
                name: Some(self.name.clone()),
                labels: Some(labels).filter(|labels| !labels.is_empty()),
                annotations: Some(notes),
                owner_references: self.goes.then(|| vec![owner(&self.object, &self.uid)]),
                ..ObjectMeta::default()
            },
            type_: Some(SECRET_TYPE.to_owned()),
            data: Some(data),
            ..Secret::default()
        }
    }

    fn data(&self, password: &SecretString) -> BTreeMap<String, ByteString> {
        let pooled = pooled_host(&self.host);
        let mode = self.ssl_mode();
        let mut entries = vec![
            ("DATABASE_URL", self.url(&pooled, password)),
            ("DATABASE_URL_UNPOOLED", self.url(&self.host, password)),
            ("PGHOST", pooled),
            ("PGHOST_UNPOOLED", self.host.clone()),
            ("PGPORT", self.port.to_string()),
            ("PGDATABASE", self.database.clone()),
            ("PGUSER", self.login.clone()),
            ("PGPASSWORD", password.expose_secret().to_owned()),
            ("PGSSLMODE", mode.to_owned()),
        ];
        if let Some(authority) = &self.authority {
            entries.push(("ca.crt", authority.pem.clone()));
            entries.push(("PGSSLROOTCERT", authority.mount_path.clone()));
        }
        let added = self.template.data.iter().filter_map(|(key, text)| {
            // a template with anything unknown in it never came this far
            let text = fill(text, |variable| self.variable(variable, password)).ok()?;
            Some((key.as_str(), text))
        });
        entries.extend(added);
        let replicas = self.replicas.iter();
        let replicas = replicas.map(|(name, host)| {
            let url = self.url(&pooled_host(host), password);
            (replica_key(name), url)
        });
        entries
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .chain(replicas)
            .map(|(key, value)| (key, ByteString(value.into_bytes())))
            .collect()
    }

    /// What a template's variable stands for; see [`super::template::VARIABLES`].
    fn variable(&self, name: &str, password: &SecretString) -> Option<String> {
        Some(match name {
            "url" => self.url(&pooled_host(&self.host), password),
            "direct_url" => self.url(&self.host, password),
            "host" => pooled_host(&self.host),
            "direct_host" => self.host.clone(),
            "port" => self.port.to_string(),
            "database" => self.database.clone(),
            "database_escaped" => escape(&self.database),
            "user" => self.login.clone(),
            "user_escaped" => escape(&self.login),
            "password" => password.expose_secret().to_owned(),
            "password_escaped" => escape(password.expose_secret()),
            "sslmode" => self.ssl_mode().to_owned(),
            "role" => self.role.clone(),
            _ => return None,
        })
    }

    fn ssl_mode(&self) -> &'static str {
        if self.authority.is_some() {
            "verify-full"
        } else {
            "require"
        }
    }

    fn url(&self, host: &str, password: &SecretString) -> String {
        let (user, password) = (escape(&self.login), escape(password.expose_secret()));
        let (port, database, mode) = (self.port, escape(&self.database), self.ssl_mode());
        format!("postgresql://{user}:{password}@{host}:{port}/{database}?sslmode={mode}")
    }
}

fn escape(text: &str) -> String {
    utf8_percent_encode(text, URL).to_string()
}

/// The password in a Secret of ours.
#[must_use]
pub fn password_in(secret: &Secret) -> Option<SecretString> {
    let bytes = secret.data.as_ref()?.get("PGPASSWORD")?;
    String::from_utf8(bytes.0.clone())
        .ok()
        .map(SecretString::from)
}

/// The login in a Secret of ours.
#[must_use]
pub fn login_in(secret: &Secret) -> Option<String> {
    let bytes = secret.data.as_ref()?.get("PGUSER")?;
    String::from_utf8(bytes.0.clone()).ok()
}

fn owner(object: &str, uid: &str) -> OwnerReference {
    OwnerReference {
        api_version: "sepulki.dev/v1alpha1".to_owned(),
        kind: "NeonDatabase".to_owned(),
        name: object.to_owned(),
        uid: uid.to_owned(),
        controller: Some(true),
        block_owner_deletion: None,
    }
}

/// The same Secret, owned by the object of this name and uid: it goes with that.
#[must_use]
pub fn with_owner(secret: &Secret, object: &str, uid: &str) -> Secret {
    let mut secret = without_owner(secret);
    secret.metadata.owner_references = Some(vec![owner(object, uid)]);
    secret
}

/// The same Secret without an owner: it stays when its object goes.
#[must_use]
pub fn without_owner(secret: &Secret) -> Secret {
    Secret {
        metadata: ObjectMeta {
            namespace: secret.metadata.namespace.clone(),
            name: secret.metadata.name.clone(),
            uid: secret.metadata.uid.clone(),
            labels: secret.metadata.labels.clone(),
            annotations: secret.metadata.annotations.clone(),
            ..ObjectMeta::default()
        },
        type_: secret.type_.clone(),
        data: secret.data.clone(),
        ..Secret::default()
    }
}

/// The host of the pooled connection: `-pooler` at the end of the endpoint's label, as Neon has it.
#[must_use]
pub fn pooled_host(host: &str) -> String {
    match host.split_once('.') {
        Some((label, rest)) => format!("{label}-pooler.{rest}"),
        None => format!("{host}-pooler"),
    }
}

/// The entry with the URL of a read replica.
#[must_use]
pub fn replica_key(name: &str) -> String {
    format!("DATABASE_URL_{}", name.to_uppercase().replace('-', "_"))
}

/// Every entry that a Secret of ours may have without a template or read replicas.
const ENTRIES: [&str; 11] = [
    "DATABASE_URL",
    "DATABASE_URL_UNPOOLED",
    "PGDATABASE",
    "PGHOST",
    "PGHOST_UNPOOLED",
    "PGPASSWORD",
    "PGPORT",
    "PGSSLMODE",
    "PGSSLROOTCERT",
    "PGUSER",
    "ca.crt",
];

/// SHA-256 of our entries and of those that a template and read replicas have added, whose keys are `more`. What others add
/// stays through every write of ours, so it must not count.
fn content_digest(data: Option<&BTreeMap<String, ByteString>>, more: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(more);
    let added: Vec<&str> = more.split(',').collect();
    let ours = data
        .into_iter()
        .flatten()
        .filter(|(key, _)| ENTRIES.contains(&key.as_str()) || added.contains(&key.as_str()));
    for (key, value) in ours {
        hash.update(key.as_bytes());
        hash.update([0]);
        hash.update(value.0.len().to_be_bytes());
        hash.update(&value.0);
    }
    hex::encode(hash.finalize())
}

/// The Secrets a spec asks for, with every default filled in. A default that has become ambiguous is what it was when the Secret
/// came `out`: a role or a database that is listed later takes nobody's credentials away.
pub fn wanted_secrets(
    spec: &NeonDatabaseSpec,
    databases: &[Database],
    roles: &[Role],
    object: &str,
    out: &[ConnectionSecretStatus],
) -> Result<Vec<WantedSecret>, Block> {
    let resolved = |name: &str| out.iter().find(|out| out.name == name);
    let writers: Vec<&Role> = roles
        .iter()
        .filter(|role| role.access == Access::ReadWrite)
        .collect();
    if spec.connection_secrets.is_empty() {
        // the default: one, where there is no doubt what it should hold
        let before = resolved(object);
        let role = only_or(&writers, |role| before.is_some_and(|b| b.role == role.name));
        let database = only_or(databases, |one| {
            before.is_some_and(|b| b.database == one.name)
        });
        let both = role.zip(database);
        let both = both.filter(|(role, database)| role.databases.contains(&database.name));
        let wanted = both.map(|(role, database)| WantedSecret {
            name: object.to_owned(),
            role: role.name.clone(),
            database: database.name.clone(),
            template: Template::default(),
        });
        return Ok(wanted.into_iter().collect());
    }
    let replicas = spec.compute.iter().flat_map(|asked| &asked.read_replicas);
    let replicas: Vec<String> = replicas.map(|asked| replica_key(&asked.name.0)).collect();
    let taken: Vec<&str> = ENTRIES
        .into_iter()
        .chain(replicas.iter().map(String::as_str))
        .collect();
    let mut wanted = Vec::new();
    for (i, secret) in spec.connection_secrets.iter().enumerate() {
        let field = format!("spec.connectionSecrets[{i}]");
        let before = resolved(&secret.name.0);
        let role = if let Some(name) = &secret.role {
            let named = roles.iter().find(|role| role.name == name.0);
            named.ok_or_else(|| invalid(format!("{field}.role: {name} is not in spec.roles")))?
        } else {
            let was = |role: &&Role| before.is_some_and(|b| b.role == role.name);
            let n = writers.len();
            only_or(&writers, was).ok_or_else(|| {
                invalid(format!(
                    "{field}.role: must be named, because {n} roles are ReadWrite"
                ))
            })?
        };
        let database = match (&secret.database, role.databases.as_slice()) {
            (Some(name), listed) if listed.contains(&name.0) => name.0.clone(),
            (Some(name), _) => {
                let role = &role.name;
                return Err(invalid(format!(
                    "{field}.database: the role {role} may not enter {name}"
                )));
            }
            (None, listed) => {
                let was = |name: &String| before.is_some_and(|b| b.database == *name);
                let (role, n) = (&role.name, listed.len());
                let database = only_or(listed, was).ok_or_else(|| {
                    invalid(format!(
                        "{field}.database: must be named, because the role {role} may enter {n} databases"
                    ))
                })?;
                database.clone()
            }
        };
        let template = match &secret.template {
            Some(asked) => Template::of(asked, &format!("{field}.template"), &taken)?,
            None => Template::default(),
        };
        wanted.push(WantedSecret {
            name: secret.name.0.clone(),
            role: role.name.clone(),
            database,
            template,
        });
    }
    Ok(wanted)
}

/// The only one; of several the one that it `was`.
fn only_or<T>(all: &[T], was: impl Fn(&T) -> bool) -> Option<&T> {
    match all {
        [only] => Some(only),
        several => several.iter().find(|one| was(one)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::fixtures::form;

    #[test]
    fn a_published_secret_is_current_until_anything_about_it_changes() {
        let form = form();
        let mut secret = form.secret(&SecretString::from("p@ss/word"));
        assert!(Found::of(&secret, "staging", "u-1").is_current(&form));
        assert!(!Found::of(&secret, "other", "u-1").is_current(&form));
        let elsewhere = Form {
            branch: "br-2".into(),
            ..form.clone()
        };
        assert!(!Found::of(&secret, "staging", "u-1").is_current(&elsewhere));
        let reset = Form {
            incarnation: "i-2".into(),
            ..form.clone()
        };
        assert!(!Found::of(&secret, "staging", "u-1").is_current(&reset));
        secret
            .data
            .as_mut()
            .unwrap()
            .insert("PGUSER".into(), ByteString(b"me".to_vec()));
        assert!(!Found::of(&secret, "staging", "u-1").is_current(&form));
        let kept = without_owner(&form.secret(&SecretString::from("x")));
        let found = Found::of(&kept, "staging", "u-1");
        assert!(found.is_current(&form) && !found.is_held_right(&form));
        let stays = Form {
            goes: false,
            ..form
        };
        assert!(found.is_current(&stays) && found.is_held_right(&stays));
        assert_eq!(stays.secret(&SecretString::from("x")), kept);
        let owned = with_owner(&kept, "staging", "u-1");
        assert!(!Found::of(&owned, "staging", "u-1").is_held_right(&stays));
    }

    #[test]
    fn a_template_is_filled_in_and_guarded_like_the_rest() {
        let text = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter();
            pairs.map(|(k, v)| (k.to_string(), v.to_string())).collect()
        };
        let form = Form {
            template: Template {
                labels: text(&[("team", "robots")]),
                annotations: text(&[("example.com/a", "b")]),
                data: text(&[
                    ("DIRECT", "$(direct_url)"),
                    (
                        "DSN",
                        "host=$(host) user=$(user) as=$(role) p=$(password) e=$(password_escaped)",
                    ),
                ]),
            },
            ..form()
        };
        let found = |secret: &Secret| Found::of(secret, "staging", "u-1");
        let secret = form.secret(&SecretString::from("p/w"));
        assert!(found(&secret).is_current(&form));
        let data = secret.data.clone().unwrap();
        assert_eq!(data["DIRECT"], data["DATABASE_URL_UNPOOLED"]);
        assert_eq!(
            String::from_utf8(data["DSN"].0.clone()).unwrap(),
            "host=ep-1-pooler.local.localhost user=app_g1 as=app p=p/w e=p%2Fw"
        );
        let mut edited = secret.clone();
        edited.data.as_mut().unwrap().remove("DIRECT");
        assert!(!found(&edited).is_current(&form));
        let mut edited = secret.clone();
        edited.metadata.labels = None;
        assert!(!found(&edited).is_current(&form));
        let mut edited = secret.clone();
        let notes = edited.metadata.annotations.as_mut().unwrap();
        notes.insert("example.com/a".into(), "c".into());
        assert!(!found(&edited).is_current(&form));
        let mut edited = secret;
        let notes = edited.metadata.annotations.as_mut().unwrap();
        notes.remove(ENTRIES_NOTE);
        assert!(!found(&edited).is_current(&form));
    }

    #[test]
    fn every_variable_stands_for_something() {
        for name in super::super::template::VARIABLES {
            let value = form().variable(name, &SecretString::from("x"));
            assert!(value.is_some_and(|value| !value.is_empty()), "{name}");
        }
    }

    #[test]
    fn a_secret_that_others_own_too_is_let_go_of_all_the_same() {
        let mut kept = without_owner(&form().secret(&SecretString::from("x")));
        let theirs = OwnerReference {
            uid: "u-theirs".into(),
            ..owner("staging", "u-1")
        };
        kept.metadata.owner_references = Some(vec![theirs]);
        assert!(!Found::of(&kept, "staging", "u-1").owned);
        assert!(Found::of(&form().secret(&SecretString::from("x")), "staging", "u-1").owned);
    }

    #[test]
    fn urls_escape_what_they_must_and_name_both_hosts() {
        let secret = form().secret(&SecretString::from("p@ss/word"));
        let text =
            |key: &str| String::from_utf8(secret.data.as_ref().unwrap()[key].0.clone()).unwrap();
        assert_eq!(
            text("DATABASE_URL"),
            "postgresql://app_g1:p%40ss%2Fword@ep-1-pooler.local.localhost:5432/sepulki?sslmode=require"
        );
        assert_eq!(text("PGHOST_UNPOOLED"), "ep-1.local.localhost");
        assert!(!secret.data.as_ref().unwrap().contains_key("ca.crt"));
    }

    #[test]
    fn with_an_authority_certificates_are_verified() {
        let authority = CertificateAuthority {
            pem: "PEM".into(),
            mount_path: "/etc/sepulki/ca.crt".into(),
        };
        let form = Form {
            authority: Some(authority),
            ..form()
        };
        let secret = form.secret(&SecretString::from("x"));
        let text =
            |key: &str| String::from_utf8(secret.data.as_ref().unwrap()[key].0.clone()).unwrap();
        assert_eq!(text("PGSSLMODE"), "verify-full");
        assert_eq!(text("ca.crt"), "PEM");
        assert_eq!(text("PGSSLROOTCERT"), "/etc/sepulki/ca.crt");
        assert!(text("DATABASE_URL").ends_with("?sslmode=verify-full"));
    }
}
