//! What the name of an AWS host says of its region and its service.

/// What is known of a host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Endpoint<'h> {
    /// As in `eu-west-1`.
    pub region: Option<&'h str>,
    /// The name that requests are signed for, which is not always the one in the host's name.
    pub service: Option<&'h str>,
}

/// The domains in which AWS names its endpoints `SERVICE.REGION`.
const DOMAINS: [&str; 4] = [".amazonaws.com", ".amazonaws.com.cn", ".api.aws", ".on.aws"];

impl<'h> Endpoint<'h> {
    /// What `host` says; nothing where it is not one of AWS's, or not clear.
    #[must_use]
    pub fn of_host(host: &'h str) -> Self {
        let Some(name) = DOMAINS.iter().find_map(|domain| host.strip_suffix(domain)) else {
            return Self::default();
        };
        // An endpoint inside a VPC has the name of the one outside, and this.
        let name = name.strip_suffix(".vpce").unwrap_or(name);
        let mut labels = name.rsplit('.');
        match (labels.next(), labels.next()) {
            (Some(region), service) if is_region(region) => {
                Self { region: Some(region), service: service.map(signing_name) }
            }
            // Search domains are named the other way round.
            (Some(service @ ("es" | "aoss")), Some(region)) if is_region(region) => {
                Self { region: Some(region), service: Some(service) }
            }
            _ => Self::default(),
        }
    }
}

/// As in `us-gov-west-1`.
fn is_region(label: &str) -> bool {
    let mut parts: Vec<&str> = label.split('-').collect();
    let number = parts.pop().unwrap_or_default();
    let is =
        |text: &str, kind: fn(&u8) -> bool| !text.is_empty() && text.bytes().all(|it| kind(&it));
    parts.len() >= 2
        && is(number, u8::is_ascii_digit)
        && parts.iter().all(|part| is(part, u8::is_ascii_lowercase))
}

/// What requests to an endpoint are signed for.
fn signing_name(label: &str) -> &str {
    match label {
        "lambda-url" => "lambda",
        "bedrock-runtime" | "bedrock-agent" | "bedrock-agent-runtime" => "bedrock",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_aws_say_where_and_what_they_are() {
        for (host, region, service) in [
            ("a1b2.execute-api.eu-west-1.amazonaws.com", "eu-west-1", "execute-api"),
            ("a1b2-vpce-1.execute-api.us-gov-west-1.amazonaws.com", "us-gov-west-1", "execute-api"),
            ("vpce-1-2.execute-api.eu-west-1.vpce.amazonaws.com", "eu-west-1", "execute-api"),
            ("a1b2.execute-api.cn-north-1.amazonaws.com.cn", "cn-north-1", "execute-api"),
            ("abc.lambda-url.ap-southeast-2.on.aws", "ap-southeast-2", "lambda"),
            ("abc.7d67968.vpc-lattice-svcs.eu-west-1.on.aws", "eu-west-1", "vpc-lattice-svcs"),
            ("bedrock-agentcore.us-east-1.amazonaws.com", "us-east-1", "bedrock-agentcore"),
            (
                "gw.gateway.bedrock-agentcore.us-west-2.amazonaws.com",
                "us-west-2",
                "bedrock-agentcore",
            ),
            ("bedrock-runtime.us-east-1.amazonaws.com", "us-east-1", "bedrock"),
            ("aws-mcp.us-east-1.api.aws", "us-east-1", "aws-mcp"),
            ("bucket.s3.eu-west-1.amazonaws.com", "eu-west-1", "s3"),
            ("search-x.eu-west-1.es.amazonaws.com", "eu-west-1", "es"),
        ] {
            let expected = Endpoint { region: Some(region), service: Some(service) };
            assert_eq!(Endpoint::of_host(host), expected, "{host}");
        }
    }

    #[test]
    fn nothing_is_guessed() {
        for host in [
            "mcp.example.com",
            "execute-api.eu-west-1.amazonaws.com.example.com",
            "my-lb-1.eu-west-1.elb.amazonaws.com",
            "s3.amazonaws.com",
            "127.0.0.1",
            "",
        ] {
            assert_eq!(Endpoint::of_host(host), Endpoint::default(), "{host}");
        }
        let alone = Endpoint::of_host("eu-west-1.amazonaws.com");
        assert_eq!(alone, Endpoint { region: Some("eu-west-1"), service: None });
    }
}
