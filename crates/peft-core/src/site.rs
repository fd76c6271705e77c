/// A linear layer that may be adapted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// Position among the adapted layers, in model order.
    pub index: usize,
    /// Hugging Face module path, such as `model.layers.0.self_attn.q_proj`.
    pub name: String,
    /// Shape of its weight.
    pub shape: SiteShape,
}

/// Shape of a weight `[out, in]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SiteShape {
    /// Rows of the weight.
    pub out_features: i64,
    /// Columns of the weight.
    pub in_features: i64,
}

impl Site {
    /// Last component of the path: `q_proj`.
    pub fn projection(&self) -> &str {
        self.name.rsplit('.').next().unwrap_or(&self.name)
    }

    /// The component before the last: `self_attn`, `mlp`.
    pub fn module(&self) -> &str {
        self.name.rsplit('.').nth(1).unwrap_or("")
    }

    /// The first numbered component of the path: the layer.
    pub fn layer(&self) -> Option<u32> {
        self.name.split('.').find_map(|part| part.parse().ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_path() {
        let shape = SiteShape { out_features: 4, in_features: 4 };
        let site = Site { index: 0, name: "model.layers.11.self_attn.q_proj".into(), shape };
        assert_eq!((site.projection(), site.module(), site.layer()), ("q_proj", "self_attn", Some(11)));
        let lone = Site { index: 0, name: "score".into(), shape };
        assert_eq!((lone.projection(), lone.module(), lone.layer()), ("score", "", None));
    }
}
