"""What the editor's workflows say: the groups that node classes stand in, and each workflow's note."""

GROUPS = {
    "Models": {
        "CheckpointLoaderSimple",
        "ChoreoLoadMotionModule",
        "ChoreoLoadMotionLora",
        "ChoreoApplyDomainAdapter",
        "ChoreoApplyMotionModule",
        "ChoreoContextWindows",
        "ChoreoLoadVideoControlNet",
    },
    "Training clips": {
        "ChoreoSpriteWorld",
        "ImageBatch",
        "ImageAddNoise",
        "StringConcatenate",
        "VAEEncode",
        "ChoreoTrainMotionModule",
    },
    "Keyframes": {
        "LoadImage",
        "ImageScale",
        "ImageFromBatch",
        "ImageInvert",
        "ChoreoKeyframe",
        "ChoreoKeyframesFromBatch",
        "ChoreoKeyframesToLatents",
        "ChoreoKeyframeGuidance",
    },
    "Trajectories": {
        "ChoreoTrajectories",
        "ChoreoCameraMove",
        "ChoreoCombineTrajectories",
        "ChoreoTrajectoriesFromPoints",
        "ChoreoTrackPoints",
        "ChoreoFlowMap",
        "ChoreoExportTrajectories",
    },
    "Prompt": {
        "CLIPTextEncode",
        "ChoreoPromptSchedule",
        "ChoreoEmptyVideoLatent",
        "ChoreoApplyImageControlNet",
        "ChoreoApplyTrajectoryControlNet",
    },
    "Sampling": {
        "ChoreoGaussianNoisePrior",
        "ChoreoNoiseLayout",
        "ChoreoNoiseToLatent",
        "ChoreoNoisePriorKSampler",
        "ChoreoFusionFeedback",
        "ChoreoCameraFreeGuider",
        "CFGGuider",
        "KSamplerSelect",
        "BasicScheduler",
        "SamplerCustomAdvanced",
        "KSamplerAdvanced",
    },
    "Result": {
        "VAEDecode",
        "ChoreoFuseFrames",
        "ChoreoDeflickerVideo",
        "ChoreoInterpolateKeyframes",
        "CreateVideo",
        "SaveVideo",
        "ChoreoVideoMetrics",
        "ChoreoFlowRating",
        "ChoreoFlowMapPreview",
        "ChoreoTrajectoryError",
        "PreviewAny",
        "PreviewImage",
    },
}

DEMO = """

The demo models know the sprite world: *a COLOUR SHAPE MOTION on GROUND, CAMERA*, for example *a blue
star circling on water, camera zooms in*. With your own Stable Diffusion 1.5 checkpoint and an
AnimateDiff motion module, set the size to 512x512.
"""
PUBLIC = """

Needs files that are not part of this pack: a Stable Diffusion 1.5 checkpoint in `models/checkpoints`,
and from the AnimateDiff release
"""
TEXT_TO_VIDEO = """## Text to video

Change first: the text of **Prompt**, then the **seed** of the noise. **gamma** of the noise steadies the
clip: 0 moves most, 0.4 is calm."""
LONG_VIDEO = """## A long clip

64 frames, sampled in overlapping windows of 16, so that memory stays that of a short clip.

Change first: the **Prompt schedule** (frame: text). Its **frames** and those of **Size and length** must
be the same. More **overlap** is smoother and slower."""
NOISE_PRIOR = """## The familiar KSampler, with the noise prior

Change first: **gamma**, with the same seed, and read in the report how motion (`dis_flow_mean`) and
steadiness (`warped_difference`) answer."""
NOISE_LAYOUTS = """## Other ways to share noise

Change first: the **layout**. The noise goes into the latent, for the stock *KSampler (Advanced)* with
*add_noise* disabled. **Steps** must be set as in the sampler."""
KEYFRAMES = """## A clip between two keyframes

The first and the last frame of a sprite-world clip are fixed; the model makes the frames between them.

Change first: the images of the two **Keyframe** nodes (*Load Image* instead of the sprite world, of the
clip's size) and the **Prompt**. **reach** of *Keyframe Guidance* ties more or fewer neighbours."""
KEYFRAME_LATENTS = """## Keyframes in the latent

As *keyframes_to_video*, with the keyframes in the latent and a noise mask that keeps them: any sampler,
no change to the model.

Change first: the images, and **at** of *Keyframes from Batch*, the frames that they fix."""
FEEDBACK = """## Fusion while sampling, and after

*Fusion Feedback* fuses the clip at half and at four fifths of sampling. Then the finished clip is fused
once more and sampled again at a low denoise, which brings back sharpness.

Change first: **percents** and **window** of *Fusion Feedback*; **denoise** of the second sampler."""
DEFLICKER = """## Remove flicker from any clip

A sprite-world clip gets noise, and loses it again. *Before* and *After* rate the motion beside the clean
clip: closer is better, lower is not.

Change first: the clip (*Load Video* and *Get Video Components* instead of the first two nodes), then
**window** of *Deflicker Video*. No model is needed."""
INTERPOLATE = """## A clip from a few finished frames

Three frames of a clip are changed (here inverted; paint over yours), and all others are made from them,
moving as the clip moves. No model is needed.

Change first: the clip, the images, and **at** of *Keyframes from Batch*, the frames where they belong."""
TRAJECTORIES = """## Draw trajectories and look at them

A drawn path, an anchor and a camera move become one flow map, shown over an image. Below, the track of a
sprite is followed through its clip, and the error measured. No model is needed.

Change first: the points of **Drawn trajectories** (x and y from 0 to 1), then the **preset** of *Camera
Move*, and *Load Image* instead of the first frame, of any size."""
TRAIN = """## Train a motion module in the graph

Two clips with captions, ten steps: enough to see it work, not to learn.

Change first: **steps** (some hundred), and the clips: any video of 16 frames, encoded. Leave
**motion_model** open to begin afresh. A **save_prefix** keeps the module in `models/animatediff_models`.
If you cancel, the next run with the same inputs and settings goes on."""
MOTION_LORA = """## A camera move by motion LoRA

Change first: the **Prompt**, then the LoRA and its **strength**; chain several *Load Motion LoRA* to mix
moves."""
DOMAIN_ADAPTER = """## AnimateDiff v3 with its domain adapter

Change first: the **Prompt**, then the **strength** of the adapter: lower keeps more of the checkpoint's
look."""

SPARSECTRL = """## A clip that begins with an image

Change first: the image, the **Prompt**, and the image's **frame**; chain several *Keyframe* nodes to pass
through more images."""

IMAGE_TO_VIDEO = """## An image, a prompt and drawn paths

The image is the first frame. What moves along the paths is the **mode** of *Follow the trajectories*:

- **object**: draw in *Object trajectories*; a point alone is an anchor, which stays.
- **camera**: a **preset** in *Camera Move*, and empty *Object trajectories*.
- **mix**: both, with **camera_weight** and **object_weight**.

Change first: the image, the **Prompt**, the points (x and y from 0 to 1), and look at the preview.
**trajectory_scale** of *Camera-Free Guider* says how much of the mode's LoRA is added; 1 = once."""

NOTES = {
    "text_to_video": TEXT_TO_VIDEO + DEMO,
    "long_video": LONG_VIDEO + DEMO,
    "noise_prior_ksampler": NOISE_PRIOR + DEMO,
    "noise_layouts": NOISE_LAYOUTS + DEMO,
    "train_motion_module": TRAIN,
    "trajectory_preview": TRAJECTORIES,
    "keyframes_to_video": KEYFRAMES + DEMO,
    "keyframe_latents": KEYFRAME_LATENTS + DEMO,
    "fusion_feedback": FEEDBACK + DEMO,
    "deflicker_video": DEFLICKER,
    "interpolate_keyframes": INTERPOLATE,
    "public/motion_lora": MOTION_LORA
    + PUBLIC
    + "`mm_sd_v15_v2.ckpt` (models/animatediff_models), "
    + "`v2_lora_PanLeft.ckpt` (models/animatediff_motion_lora).",
    "public/domain_adapter": DOMAIN_ADAPTER
    + PUBLIC
    + "`v3_sd15_mm.ckpt` (models/animatediff_models), `v3_sd15_adapter.ckpt` (models/loras).",
    "public/sparsectrl_image": SPARSECTRL
    + PUBLIC
    + "`v3_sd15_mm.ckpt` (models/animatediff_models), "
    + "`v3_sd15_sparsectrl_rgb.ckpt` (models/controlnet).",
    "public/image_to_video_trajectory": IMAGE_TO_VIDEO
    + PUBLIC
    + "`v3_sd15_mm.ckpt` (models/animatediff_models); from Image Conductor's `image_controlnet.ckpt` and "
    + "`flow_controlnet.ckpt` (models/controlnet).",
}
