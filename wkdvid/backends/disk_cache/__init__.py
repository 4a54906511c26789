"""What remote sources have sent, kept on disk: bounded, checked, shared by workers, served while a source is down."""
