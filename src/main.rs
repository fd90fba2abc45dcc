//! Entry: parse, load, run; an error becomes lines on standard error and an exit status here and nowhere else.

use std::os::fd::AsFd;
use std::process::ExitCode;

use stall_exporter::cli::{self, Command, Exit, Stop, check, print, stalls, tables, textfile};
use stall_exporter::{app, config};

fn main() -> ExitCode {
    run().map_or_else(|end| report(&end), |()| Exit::Ok).into()
}

fn run() -> Result<(), End> {
    let asked = cli::parse(std::env::args_os()).map_err(End::Stop)?;
    let config = config::load(&asked.flags).map_err(End::Faults)?;
    match asked.command {
        Command::Serve => app::serve(config).map_err(failed),
        Command::Once { wait } => out(&app::page(&config, wait, None).map_err(failed)?.text),
        Command::Textfile { output, wait } => {
            let directory = textfile::directory(&output).map_err(End::Failed)?;
            let page = app::page(&config, wait, Some(directory.as_fd())).map_err(failed)?;
            textfile::write(&output, &page.text).map_err(End::Failed)
        }
        Command::Stalls(options) => stalls::run(&config, &options).map_err(End::Failed),
        Command::Check => {
            let report = check::report(&config);
            out(report.text.as_bytes())?;
            report
                .good
                .then_some(())
                .ok_or_else(|| End::Failed("this host lacks what the exporter needs".into()))
        }
        Command::Sources => out(tables::sources().as_bytes()),
        Command::Metrics => out(tables::metrics().as_bytes()),
    }
}

/// Every end but success.
enum End {
    Stop(Stop),
    Faults(Vec<config::Fault>),
    Failed(String),
}

fn failed(error: app::Error) -> End {
    End::Failed(error.to_string())
}

fn out(text: &[u8]) -> Result<(), End> {
    print::out(text).map_err(|error| End::Failed(format!("standard output: {error}")))
}

fn report(end: &End) -> Exit {
    match end {
        End::Stop(Stop::Text(text)) => {
            return out(text.as_bytes()).map_or_else(|end| report(&end), |()| Exit::Ok);
        }
        End::Stop(Stop::Usage(line)) => print::error(line),
        End::Faults(faults) => faults.iter().for_each(|fault| print::error(&fault.to_string())),
        End::Failed(line) => print::error(line),
    }
    if matches!(end, End::Failed(_)) { Exit::RunTime } else { Exit::Usage }
}
