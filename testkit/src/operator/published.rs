//! A published connection Secret, used as an application uses it.

use std::{collections::BTreeMap, str::FromStr};

use anyhow::{Context, ensure};
use k8s_openapi::{api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use sqlx::{
    ConnectOptions, PgConnection,
    postgres::{PgConnectOptions, PgSslMode},
};

/// The Secret's contents, all of them text.
#[derive(Clone, PartialEq, Eq)]
pub struct Published {
    /// The keys and their values.
    pub fields: BTreeMap<String, String>,
}

impl Published {
    pub(super) fn of(secret: &Secret) -> anyhow::Result<Self> {
        let data = secret.data.clone().unwrap_or_default();
        let read = |(key, value): (String, k8s_openapi::ByteString)| {
            let text = String::from_utf8(value.0).with_context(|| format!("{key} is no text"))?;
            Ok((key, text))
        };
        Ok(Self {
            fields: data.into_iter().map(read).collect::<anyhow::Result<_>>()?,
        })
    }

    /// A key's value.
    pub fn field(&self, key: &str) -> anyhow::Result<&str> {
        let value = self.fields.get(key).map(String::as_str);
        value.with_context(|| format!("the Secret has no {key}"))
    }

    /// Connects by `DATABASE_URL_UNPOOLED`.
    pub async fn direct(&self) -> anyhow::Result<PgConnection> {
        self.connect("DATABASE_URL_UNPOOLED").await
    }

    /// Connects by `DATABASE_URL`, through the pooler.
    pub async fn pooled(&self) -> anyhow::Result<PgConnection> {
        self.connect("DATABASE_URL").await
    }

    async fn connect(&self, key: &str) -> anyhow::Result<PgConnection> {
        let options = self.options(key)?;
        let host = options.get_host().to_owned();
        options
            .connect()
            .await
            .with_context(|| format!("connect by {key} to {host}"))
    }

    /// The options that a URL of the Secret stands for, with the Secret's authority.
    ///
    /// # Errors
    /// If it does not ask for `verify-full`.
    pub fn options(&self, key: &str) -> anyhow::Result<PgConnectOptions> {
        let options = PgConnectOptions::from_str(self.field(key)?).context("read the URL")?;
        ensure!(
            matches!(options.get_ssl_mode(), PgSslMode::VerifyFull),
            "{key} does not ask for verify-full"
        );
        let authority = self.field("ca.crt")?.as_bytes().to_vec();
        Ok(options.ssl_root_cert_from_pem(authority))
    }
}

/// The name of the owner of an object that is owned by one.
#[must_use]
pub fn owner(metadata: &ObjectMeta) -> Option<&str> {
    let owners = metadata.owner_references.as_deref().unwrap_or_default();
    owners.first().map(|owner| owner.name.as_str())
}
