//! Entry: parse, load, run; an error becomes lines on standard error and an exit status here and nowhere else.

use std::process::ExitCode;

use stall_exporter::app::{self, Mode};
use stall_exporter::cli::{self, Command, Exit, Stop, print};
use stall_exporter::config::{self, Fault};

fn main() -> ExitCode {
    run().map_or_else(|end| report(&end), |()| Exit::Ok).into()
}

fn run() -> Result<(), End> {
    let asked = cli::parse(std::env::args_os()).map_err(End::Stop)?;
    let config = config::load(&asked.flags).map_err(End::Faults)?;
    app::run(&mode(asked.command), config).map_err(End::App)
}

fn mode(command: Command) -> Mode {
    match command {
        Command::Serve => Mode::Serve,
        Command::Once { wait } => Mode::Once { wait },
        Command::Textfile { output } => Mode::Textfile { output },
        Command::Check => Mode::Check,
        Command::Sources => Mode::Sources,
        Command::Metrics => Mode::Metrics,
    }
}

/// Every end but success.
enum End {
    Stop(Stop),
    Faults(Vec<Fault>),
    App(app::Error),
}

fn report(end: &End) -> Exit {
    match end {
        End::Stop(Stop::Text(text)) => match print::out(text) {
            Ok(()) => return Exit::Ok,
            Err(error) => print::error(&format!("standard output: {error}")),
        },
        End::Stop(Stop::Usage(line)) => print::error(line),
        End::Faults(faults) => faults.iter().for_each(|fault| print::error(&fault.to_string())),
        End::App(error) => print::error(&error.to_string()),
    }
    match end {
        End::Stop(Stop::Usage(_)) | End::Faults(_) | End::App(app::Error::Configuration(_)) => Exit::Usage,
        End::Stop(Stop::Text(_)) | End::App(app::Error::RunTime(_)) => Exit::RunTime,
    }
}
