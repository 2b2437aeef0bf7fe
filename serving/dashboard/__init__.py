"""The dashboard: pages made on the server, charts as inline SVG, no build step."""
