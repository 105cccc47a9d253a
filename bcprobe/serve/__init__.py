"""In the browser: annotate worlds, watch and steer a model, explore episodes."""
