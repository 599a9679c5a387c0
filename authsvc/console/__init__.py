"""Pages for people: HTML forms and redirects over the flows. This folder has what all pages share."""
