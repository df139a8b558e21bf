from tests.unit.render.conftest import cache_dir, folder, model

__all__ = ["cache_dir", "folder", "model"]
