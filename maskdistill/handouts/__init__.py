"""Pages to give away: one file each, without a server or a network. ``guide_texts`` says what each step shows."""
