"""From one run to a whole study: ``tasks`` does one thing once, ``engine`` runs grids, ``studies`` declares them."""
