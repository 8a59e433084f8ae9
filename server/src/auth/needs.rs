use tintype_store::Scope;

/// What a call needs to be let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// Nothing: it is open to everyone.
    Nothing,
    /// A token.
    Token,
    /// A token that is good for this.
    Scope(Scope),
}

/// Services of others that are open to everyone.
const OPEN: [&str; 2] = ["/grpc.health.v1.Health/", "/grpc.reflection."];

/// Every method of `tintype.v1`. One that is missing here is not let through at all.
const METHODS: [(&str, Need); 33] = [
    ("AdminService/GetStats", Need::Scope(Scope::Admin)),
    ("AdminService/ListFailures", Need::Scope(Scope::Admin)),
    ("AdminService/RetryFailures", Need::Scope(Scope::Admin)),
    ("AdminService/Verify", Need::Scope(Scope::Admin)),
    ("AuthService/CreateToken", Need::Nothing),
    ("AuthService/ListTokens", Need::Scope(Scope::Read)),
    ("AuthService/RevokeToken", Need::Scope(Scope::Write)),
    ("AuthService/GetCurrentUser", Need::Token),
    ("AuthService/ChangePassword", Need::Scope(Scope::Write)),
    ("ImageService/UploadImages", Need::Scope(Scope::Write)),
    ("ImageService/GetUpload", Need::Scope(Scope::Read)),
    ("ImageService/CancelUpload", Need::Scope(Scope::Write)),
    ("ImageService/CreateUploadUrl", Need::Scope(Scope::Write)),
    ("ImageService/FinishUpload", Need::Scope(Scope::Write)),
    ("ImageService/CreateDownloadUrl", Need::Scope(Scope::Read)),
    ("ImageService/DownloadImage", Need::Scope(Scope::Read)),
    ("ImageService/DownloadImages", Need::Scope(Scope::Read)),
    ("ImageService/GetImage", Need::Scope(Scope::Read)),
    ("ImageService/ListImages", Need::Scope(Scope::Read)),
    ("ImageService/CreateRendition", Need::Scope(Scope::Write)),
    ("ImageService/RetryRendition", Need::Scope(Scope::Write)),
    ("ImageService/UpdateImage", Need::Scope(Scope::Write)),
    ("ImageService/DeleteImage", Need::Scope(Scope::Write)),
    ("ImageService/ShareImage", Need::Scope(Scope::Write)),
    ("ImageService/UnshareImage", Need::Scope(Scope::Write)),
    ("ImageService/ListShares", Need::Scope(Scope::Read)),
    ("ImageService/WatchImages", Need::Scope(Scope::Read)),
    ("ImageService/GetLimits", Need::Token),
    ("UserService/CreateUser", Need::Scope(Scope::Admin)),
    ("UserService/GetUser", Need::Scope(Scope::Admin)),
    ("UserService/ListUsers", Need::Scope(Scope::Admin)),
    ("UserService/UpdateUser", Need::Scope(Scope::Admin)),
    ("UserService/DeleteUser", Need::Scope(Scope::Admin)),
];

/// What the method at this path needs; `None` when there is no such method.
pub(crate) fn need(path: &str) -> Option<Need> {
    if OPEN.iter().any(|open| path.starts_with(open)) {
        return Some(Need::Nothing);
    }
    let method = path.strip_prefix("/tintype.v1.")?;
    METHODS.iter().find(|(known, _)| *known == method).map(|(_, need)| *need)
}

/// How metrics call the method at this path: one of a few names, whatever callers make up.
pub(crate) fn method_name(path: &str) -> &'static str {
    let method = path.strip_prefix("/tintype.v1.").and_then(|method| METHODS.iter().find(|(known, _)| *known == method));
    match method {
        Some((known, _)) => known,
        None if path.starts_with("/grpc.health.v1.Health/") => "health",
        None if path.starts_with("/grpc.reflection.") => "reflection",
        None => "http",
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use prost_types::FileDescriptorSet;
    use tintype_proto::FILE_DESCRIPTOR_SET;

    use super::*;

    #[test]
    fn every_method_says_what_it_needs_and_no_other_does() {
        let set = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).expect("a descriptor set");
        let mut methods = Vec::new();
        for file in set.file.iter().filter(|file| file.package() == "tintype.v1") {
            for service in &file.service {
                methods.extend(service.method.iter().map(|method| format!("{}/{}", service.name(), method.name())));
            }
        }
        methods.sort_unstable();
        let mut known: Vec<_> = METHODS.iter().map(|(method, _)| (*method).to_owned()).collect();
        known.sort_unstable();
        assert_eq!(known, methods);
    }

    #[test]
    fn only_signing_in_health_and_reflection_are_open() {
        let open: Vec<_> = METHODS.iter().filter(|(_, need)| *need == Need::Nothing).map(|(method, _)| *method).collect();
        assert_eq!(open, ["AuthService/CreateToken"]);
        assert_eq!(need("/grpc.health.v1.Health/Check"), Some(Need::Nothing));
        assert_eq!(need("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"), Some(Need::Nothing));
        for path in ["", "/", "/tintype.v1.AuthService/", "/tintype.v1.AuthService/CreateTokenX", "AuthService/CreateToken"] {
            assert_eq!(need(path), None, "{path}");
        }
    }
}
