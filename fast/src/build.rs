//! What this binary is, for bug reports: version, profile and target.

/// The version of the distribution, equal to that of `meridian-runtime`.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// `"release"` when compiled without debug assertions, otherwise `"debug"`.
pub const PROFILE: &str = if cfg!(debug_assertions) { "debug" } else { "release" };

/// One line: version, profile, target, and which Python interface was compiled in.
pub fn info() -> String {
    let python = if cfg!(feature = "python") { "abi3-py311" } else { "no python" };
    let faults = if cfg!(feature = "faults") { ", with seeded faults" } else { "" };
    format!(
        "meridian-fast {VERSION} ({PROFILE}, {arch}-{os}, {python}{faults})",
        arch = std::env::consts::ARCH,
        os = std::env::consts::OS,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn info_names_version_profile_and_target() {
        let line = info();
        assert!(line.starts_with(&format!("meridian-fast {VERSION} (")), "{line}");
        assert!(line.contains(PROFILE), "{line}");
        assert!(line.contains(std::env::consts::ARCH), "{line}");
    }

    #[test]
    fn version_is_three_plain_numbers() {
        let parts: Vec<&str> = VERSION.split('.').collect();
        assert_eq!(parts.len(), 3, "{VERSION}");
        assert!(parts.iter().all(|part| part.parse::<u32>().is_ok()), "{VERSION}");
    }
}
