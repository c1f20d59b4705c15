"""What the editor's workflows say: the groups that node classes stand in, and each workflow's note."""

GROUPS = {
    "Models": {
        "CheckpointLoaderSimple",
        "ChoreoLoadMotionModule",
        "ChoreoLoadMotionLora",
        "ChoreoApplyDomainAdapter",
        "ChoreoApplyMotionModule",
        "ChoreoContextWindows",
    },
    "Training clips": {
        "ChoreoSpriteWorld",
        "ImageBatch",
        "StringConcatenate",
        "VAEEncode",
        "ChoreoTrainMotionModule",
    },
    "Prompt": {"CLIPTextEncode", "ChoreoPromptSchedule", "ChoreoEmptyVideoLatent"},
    "Sampling": {
        "ChoreoGaussianNoisePrior",
        "ChoreoNoiseLayout",
        "ChoreoNoiseToLatent",
        "ChoreoNoisePriorKSampler",
        "CFGGuider",
        "KSamplerSelect",
        "BasicScheduler",
        "SamplerCustomAdvanced",
        "KSamplerAdvanced",
    },
    "Result": {"VAEDecode", "CreateVideo", "SaveVideo", "ChoreoVideoMetrics", "PreviewAny", "PreviewImage"},
}

DEMO = (
    "\n\nThe demo models know the sprite world: *a COLOUR SHAPE MOTION on GROUND, CAMERA*, for example "
    "*a blue star circling on water, camera zooms in*. With your own Stable Diffusion 1.5 checkpoint and an AnimateDiff "
    "motion module, set the size to 512x512."
)
PUBLIC = (
    "\n\nNeeds files that are not part of this pack: a Stable Diffusion 1.5 checkpoint in `models/checkpoints`, and from "
    "the AnimateDiff release {files}."
)

NOTES = {
    "text_to_video": "## Text to video\n\nChange first: the text of **Prompt**, then the **seed** of the noise. "
    "**gamma** of the noise steadies the clip: 0 moves most, 0.4 is calm." + DEMO,
    "long_video": "## A long clip\n\n64 frames, sampled in overlapping windows of 16, so that memory stays that of a short "
    "clip. Change first: the **Prompt schedule** (frame: text). Its **frames** and those of **Size and length** must be "
    "the same. More **overlap** is smoother and slower." + DEMO,
    "noise_prior_ksampler": "## The familiar KSampler, with the noise prior\n\nChange first: **gamma**, with the same seed, "
    "and read in the report how motion (`dis_flow_mean`) and steadiness (`warped_difference`) answer." + DEMO,
    "noise_layouts": "## Other ways to share noise\n\nChange first: the **layout**. The noise goes into the latent, for the "
    "stock *KSampler (Advanced)* with *add_noise* disabled. **Steps** must be set as in the sampler." + DEMO,
    "train_motion_module": "## Train a motion module in the graph\n\nTwo clips with captions, ten steps: enough to see it "
    "work, not to learn. Change first: **steps** (some hundred), and the clips: any video of 16 frames, encoded. Leave "
    "**motion_model** open to begin afresh. A **save_prefix** keeps the module in `models/animatediff_models`. If you "
    "cancel, the next run with the same settings goes on.",
    "public/motion_lora": "## A camera move by motion LoRA\n\nChange first: the **Prompt**, then the LoRA and its **strength**; "
    "chain several *Load Motion LoRA* to mix moves."
    + PUBLIC.format(files="`mm_sd_v15_v2.ckpt` in `models/animatediff_models`, `v2_lora_PanLeft.ckpt` in `models/animatediff_motion_lora`"),
    "public/domain_adapter": "## AnimateDiff v3 with its domain adapter\n\nChange first: the **Prompt**, then the adapter's "
    "**strength**: lower keeps more of the checkpoint's look."
    + PUBLIC.format(files="`v3_sd15_mm.ckpt` in `models/animatediff_models`, `v3_sd15_adapter.ckpt` in `models/loras`"),
}
