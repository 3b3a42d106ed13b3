//! The proxy's certificate: one for all endpoints, from a CA of the emulator's own. Both are made
//! once per data folder; the CA's key is thrown away, since nothing else will ever be signed.

use std::{fs, os::unix::fs::OpenOptionsExt, path::Path, sync::Arc};

use anyhow::Context;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio_rustls::TlsAcceptor;

use crate::{
    names,
    scram::{self, Key},
};

/// The protocol name of clients that start TLS without asking first (PostgreSQL 17).
const ALPN: &[u8] = b"postgresql";

/// What the proxy needs for TLS and for channel binding.
pub(crate) struct Tls {
    pub(crate) acceptor: TlsAcceptor,
    /// The `tls-server-end-point` data: the certificate's hash. The certificate is signed with
    /// SHA-256, so that is the hash to use (RFC 5929, section 4.1).
    pub(crate) end_point: Key,
    pub(crate) ca_pem: String,
}

impl Tls {
    /// Reads `ca.crt`, `proxy.crt` and `proxy.key` in `dir`, or makes them.
    pub(crate) fn open(dir: &Path) -> anyhow::Result<Self> {
        let (ca, certificate, key) = (
            dir.join("ca.crt"),
            dir.join("proxy.crt"),
            dir.join("proxy.key"),
        );
        if ![&ca, &certificate, &key].iter().all(|path| path.exists()) {
            make(&ca, &certificate, &key).context("cannot make the certificates")?;
        }
        let chain = CertificateDer::from_pem_file(&certificate).context("proxy.crt")?;
        let key = PrivateKeyDer::from_pem_file(&key).context("proxy.key")?;
        let end_point = scram::sha256(&chain);
        let mut config =
            ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()?
                .with_no_client_auth()
                .with_single_cert(vec![chain], key)?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            end_point,
            ca_pem: fs::read_to_string(&ca)?,
        })
    }
}

fn make(ca_path: &Path, certificate_path: &Path, key_path: &Path) -> anyhow::Result<()> {
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
        .distinguished_name
        .push(DnType::CommonName, "neon-emulator CA");
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;

    let mut params = CertificateParams::new(vec![format!("*.{}", names::DOMAIN)])?;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    params
        .distinguished_name
        .push(DnType::CommonName, "neon-emulator proxy");
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, &ca)?;

    fs::write(ca_path, ca.pem())?;
    fs::write(certificate_path, certificate.pem())?;
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(key_path)?;
    std::io::Write::write_all(&mut file, key.serialize_pem().as_bytes())?;
    Ok(())
}
