"""Pure drawing: graphs and runs as SVG, Mermaid, HTML and text. Nothing here reads a store or runs a step."""
