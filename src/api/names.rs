//! Strings with rules: each is checked by the server through the pattern in its schema. Pure.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

macro_rules! text {
    ($(#[$doc:meta])* $name:ident, $pattern:literal, $max:literal) => {
        text!($(#[$doc])* $name, $pattern, $max, 1);
    };
    ($(#[$doc:meta])* $name:ident, $pattern:literal, $max:literal, $min:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub String);

        impl $name {
            /// The text as it was written.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({"type": "string", "minLength": $min, "maxLength": $max, "pattern": $pattern})
            }
        }
    };
}

text!(
    /// `never` or a length of time.
    Lease, "^(never|[1-9][0-9]{0,8}(s|m|h|d))$", 10
);
text!(
    /// `never`, `default` (Neon's own) or a length of time.
    SuspendAfter, "^(never|default|[1-9][0-9]{0,8}(s|m|h|d))$", 10
);
text!(
    /// Name of a read replica.
    ReplicaName, "^[a-z]([-a-z0-9]*[a-z0-9])?$", 40
);
text!(
    /// A length of time.
    TimeSpan, "^[1-9][0-9]{0,8}(s|m|h|d)$", 10
);
text!(
    /// `unlimited` or a length of time.
    TimeLimit, "^(unlimited|[1-9][0-9]{0,8}(s|m|h|d))$", 10
);
text!(
    /// An IP address, a network such as `203.0.113.0/24`, or a range such as `203.0.113.1-203.0.113.9`.
    IpRange, "^[0-9a-fA-F.:]+([/-][0-9a-fA-F.:]+)?$", 90
);
text!(
    /// Name of a namespace.
    NamespaceName, "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", 63
);
text!(
    /// Value of a label; may be empty.
    LabelValue, "^([A-Za-z0-9]([-_.A-Za-z0-9]*[A-Za-z0-9])?)?$", 63, 0
);
text!(
    /// Name of a Kubernetes object.
    ObjectName, "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", 253
);
text!(
    /// Key of a Secret.
    SecretKey, "^[-._a-zA-Z0-9]+$", 253
);
text!(
    /// A PostgreSQL identifier, of at most 63 bytes as PostgreSQL has it.
    PgName, "^[^\\x00]+$", 63
);
text!(
    /// A PostgreSQL role whose logins carry a suffix, hence at most 58 bytes.
    RoleName, "^[^\\x00]+$", 58
);
text!(
    /// Name of a migration file.
    FileName, "^[^/\\x00-\\x1f]+$", 255
);
text!(
    /// A SHA-256, written `sha256:` and 64 hexadecimal digits.
    Digest, "^sha256:[0-9a-f]{64}$", 71
);
text!(
    /// A SHA-256, as 64 hexadecimal digits.
    Sha256, "^[0-9a-f]{64}$", 64
);
