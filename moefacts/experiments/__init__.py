"""From one run to a whole study: ``tasks`` does one thing once, ``engine`` runs a grid, ``studies`` says what for."""
