//! `rehome statistics`: one answer of several processes.

use admin_api::StatisticsReply;
use clap::Args;

use super::Target;
use crate::client::ClientError;
use crate::print;

/// `rehome statistics`
#[derive(Clone, Debug, Args)]
pub struct StatisticsArguments {
    /// The admin addresses of the site's state processes, several with commas between them.
    #[arg(
        long,
        default_value = "http://127.0.0.1:8080",
        value_name = "URL,...",
        value_delimiter = ','
    )]
    pub admin: Vec<String>,
    /// The nodes' token; REHOME_TOKEN when absent.
    #[arg(long)]
    pub token: Option<String>,
    /// Prints the sums as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Asks each process. One that does not answer is an error: its numbers would be missed silently.
pub(super) fn run(arguments: &StatisticsArguments) -> Result<String, ClientError> {
    let StatisticsArguments { admin, token, json } = arguments;
    let target =
        |admin: &String| Target { admin: admin.clone(), token: token.clone(), json: *json };
    let mut sum = StatisticsReply::default();
    for (place, admin) in admin.iter().enumerate() {
        let said: StatisticsReply = target(admin).client()?.get("/v1/statistics")?;
        if place == 0 {
            (sum.here, sum.backup_to) = (said.here, said.backup_to);
        }
        if said.here != sum.here {
            return Err(ClientError::Declined(format!(
                "{admin} is of site {}, and {} of site {}: name the processes of one site",
                said.here, arguments.admin[0], sum.here
            )));
        }
        sum.add(&said);
    }
    target(&arguments.admin[0]).print(&sum, print::statistics::sums)
}
