"""Hand-written fakes of services that a test cannot run, each a real server on a free port."""
